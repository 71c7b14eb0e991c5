//! Collects what is wrong with a request, field by field.
//!
//! A decoder goes on after a bad field, so the caller learns of all of them at once. [`Checked`] carries the proof: its
//! error exists only where a bad field was recorded, and [`Fields::finish`] returns a value only if none was. At most
//! [`LISTED_MAX`] fields are listed; the others are only counted. Nothing here knows a message of the contract.

use std::fmt::Display;

use inventory_core::model::ids::parse_guid;
use tonic::Status;
use uuid::Uuid;

use crate::status;
use crate::violation::{At, Violation};

/// Bad fields that a refusal lists.
const LISTED_MAX: usize = 20;
/// What is said of a required field that is empty.
const REQUIRED: &str = "is required";

/// A decoded value, or the proof that a bad field was recorded.
pub(crate) type Checked<T> = Result<T, Recorded>;

/// The proof that a bad field was recorded. Only [`Fields::bad`] makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded(());

/// The bad fields of one request.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    listed: Vec<Violation>,
    count: usize,
}

impl Fields {
    /// Records a bad field of the message `at`.
    pub(crate) fn bad<T>(&mut self, at: At, field: &str, description: impl Display) -> Checked<T> {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(Violation { field: at.path(field), description: description.to_string() });
        }
        Err(Recorded(()))
    }

    /// Records that a required field is empty.
    pub(crate) fn missing<T>(&mut self, at: At, field: &str) -> Checked<T> {
        self.bad(at, field, REQUIRED)
    }

    /// The value, or INVALID_ARGUMENT if any field was bad.
    pub(crate) fn finish<T>(self, value: Checked<T>) -> Result<T, Status> {
        match value {
            Ok(value) if self.count == 0 => Ok(value),
            Ok(_) | Err(Recorded(())) => Err(status::bad_fields(self.listed, self.count)),
        }
    }

    /// The listed bad fields.
    pub(crate) fn into_listed(self) -> Vec<Violation> {
        self.listed
    }

    /// A required GUID.
    pub(crate) fn guid(&mut self, at: At, field: &str, text: &str) -> Checked<Uuid> {
        match parse_guid(text) {
            Some(guid) => Ok(guid),
            None if text.is_empty() => self.missing(at, field),
            None => self.bad(at, field, "must be a GUID"),
        }
    }

    /// A GUID; `None` if the field is empty.
    pub(crate) fn optional_guid(&mut self, at: At, field: &str, text: &str) -> Checked<Option<Uuid>> {
        if text.is_empty() { Ok(None) } else { self.guid(at, field, text).map(Some) }
    }

    /// A text of at most `chars_max` characters.
    pub(crate) fn text(&mut self, at: At, field: &str, text: String, chars_max: usize) -> Checked<String> {
        // Postgres text cannot hold a NUL.
        if text.chars().count() > chars_max || text.contains('\0') {
            return self.bad(at, field, format_args!("must have at most {chars_max} characters, none of them NUL"));
        }
        Ok(text)
    }

    /// Records that a name of 1 to `chars_max` characters is out of bounds.
    pub(crate) fn bad_name<T>(&mut self, at: At, field: &str, text: &str, chars_max: usize) -> Checked<T> {
        match text.is_empty() {
            true => self.missing(at, field),
            false => self.bad(at, field, format_args!("must have 1 to {chars_max} characters, none of them NUL")),
        }
    }

    /// A number that is not negative.
    pub(crate) fn not_negative(&mut self, at: At, field: &str, number: i64) -> Checked<i64> {
        if number < 0 { self.bad(at, field, "must not be negative") } else { Ok(number) }
    }

    /// Decodes each element of a list of 1 to `max` elements. Does not look into a list that is too long.
    pub(crate) fn each<T, U>(
        &mut self,
        list: &'static str,
        max: usize,
        elements: Vec<T>,
        mut decode: impl FnMut(&mut Self, At, T) -> Checked<U>,
    ) -> Checked<Vec<U>> {
        if elements.is_empty() {
            return self.missing(At::REQUEST, list);
        }
        if elements.len() > max {
            return self.bad(At::REQUEST, list, format_args!("must be 1 to {max} {list}"));
        }
        let (mut decoded, mut bad) = (Vec::with_capacity(elements.len()), None);
        for (index, element) in elements.into_iter().enumerate() {
            match decode(self, At::element(list, index), element) {
                Ok(element) => decoded.push(element),
                Err(recorded) => bad = Some(recorded),
            }
        }
        bad.map_or(Ok(decoded), Err)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    fn listed(status: &Status) -> Vec<(String, String)> {
        let bad = status.get_details_bad_request().expect("a BadRequest");
        bad.field_violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
    }

    #[test]
    fn all_bad_fields_are_listed_in_order() {
        let mut fields = Fields::default();
        let site = fields.guid(At::REQUEST, "site_id", "");
        let order = fields.guid(At::REQUEST, "order_id", "x");
        let note = fields.text(At::element("items", 3), "note", "ab".into(), 1);
        let status = fields.finish(site.and(order).and(note)).expect_err("three are bad");
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "site_id: is required; bad fields: 3"));
        let expected = [
            ("site_id", "is required"),
            ("order_id", "must be a GUID"),
            ("items[3].note", "must have at most 1 characters, none of them NUL"),
        ];
        assert_eq!(listed(&status), expected.map(|(field, text)| (field.to_owned(), text.to_owned())));
    }

    #[test]
    fn at_most_twenty_are_listed_and_all_are_counted() {
        let mut fields = Fields::default();
        let decoded = fields.each("items", 300, vec!["x"; 300], |fields, at, text| fields.guid(at, "id", text));
        let status = fields.finish(decoded).expect_err("all are bad");
        assert_eq!(status.message(), "items[0].id: must be a GUID; bad fields: 300");
        assert_eq!(listed(&status).len(), 20);
        assert!(status.details().len() <= inventory_proto::DETAIL_BYTES_DEFAULT);
    }

    #[test]
    fn a_bad_field_is_never_lost() {
        let mut fields = Fields::default();
        let _ = fields.guid(At::REQUEST, "site_id", "x");
        assert!(fields.finish(Ok(())).is_err());
    }

    #[test]
    fn a_list_out_of_bounds_is_not_read() {
        for (count, description) in [(0, "is required"), (3, "must be 1 to 2 items")] {
            let mut fields = Fields::default();
            let decoded = fields.each("items", 2, vec![(); count], |_, _, ()| -> Checked<()> { panic!("not read") });
            let status = fields.finish(decoded).expect_err("out of bounds");
            assert_eq!(listed(&status), [("items".to_owned(), description.to_owned())]);
        }
    }
}
