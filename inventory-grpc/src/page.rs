//! Pages: their size, and the tokens that lead from one to the next.
//!
//! A page ends early if its rows would take more than 1 MiB.
//!
//! A token is opaque to callers and good only for the query that it came from: it carries the query and the place where
//! the next page starts. It is not signed; a forged one can only ask for another page of the caller's own query.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inventory_core::model::catalog::{Unit, Variant};
use inventory_core::model::ids::{LocationId, SiteId, parse_guid};
use inventory_core::model::limits;
use inventory_core::store::{Page as Rows, StockCursor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decode::{Checked, Fields};
use crate::violation::At;

/// Bytes of the rows of an answer. Clients take 4 MiB by default, and an answer that nobody reads holds memory.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The page that a request asks for.
#[derive(Debug)]
pub(crate) struct Page<C> {
    /// The most rows that it may have.
    pub(crate) rows: i64,
    /// Where it starts; `None` is the first page.
    pub(crate) after: Option<C>,
    query: String,
}

impl<C: Cursor> Page<C> {
    /// Reads `page_size` and `page_token`. `query` is the text of the site and all filters.
    pub(crate) fn decode(fields: &mut Fields, query: Checked<String>, size: i32, token: &str) -> Checked<Self> {
        let rows = match i64::from(size) {
            0 => Ok(limits::PAGE_ROWS_DEFAULT),
            rows @ 1..=limits::PAGE_ROWS_MAX => Ok(rows),
            _ => fields.bad(At::REQUEST, "page_size", format_args!("must be 0 to {}", limits::PAGE_ROWS_MAX)),
        };
        let query = query?;
        let after = cursor(fields, &query, token);
        Ok(Self { rows: rows?, after: after?, query })
    }

    /// The token of the page that starts at `next`; empty if there is none.
    pub(crate) fn next_token(&self, next: Option<C>) -> String {
        // Strings and numbers always serialize.
        let token = |next: C| serde_json::to_vec(&(&self.query, next.into_wire())).unwrap_or_default();
        next.map(token).map(|token| URL_SAFE_NO_PAD.encode(token)).unwrap_or_default()
    }
}

/// The bytes of a part of an answer, so far.
#[derive(Default)]
pub(crate) struct Bytes(usize);

impl Bytes {
    /// Whether one more message fits. The first one always does.
    pub(crate) fn fit(&mut self, message: &impl prost::Message) -> bool {
        let is_first = self.0 == 0;
        // Its tag and its length take some bytes too.
        self.0 = self.0.saturating_add(message.encoded_len() + 8);
        is_first || self.0 <= ANSWER_BYTES_MAX
    }
}

/// The rows of a page as messages, as many as an answer may hold, and where the next page starts. `cursor` is the place
/// of a row.
pub(crate) fn fit<R, M: prost::Message, C>(
    page: Rows<R, C>,
    cursor: impl Fn(&R) -> C,
    encode: impl Fn(R) -> M,
) -> (Vec<M>, Option<C>) {
    let Rows { rows, next } = page;
    let (mut messages, mut bytes, mut last) = (Vec::with_capacity(rows.len()), Bytes::default(), None);
    for row in rows {
        let place = cursor(&row);
        let message = encode(row);
        if !bytes.fit(&message) {
            return (messages, last);
        }
        messages.push(message);
        last = Some(place);
    }
    (messages, next)
}

fn cursor<C: Cursor>(fields: &mut Fields, query: &str, token: &str) -> Checked<Option<C>> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    match bytes.and_then(|bytes| serde_json::from_slice::<(String, C::Wire)>(&bytes).ok()) {
        Some((of, _)) if of != query => fields.bad(At::REQUEST, "page_token", "belongs to another query"),
        Some((_, wire)) => match C::from_wire(wire) {
            Some(cursor) => Ok(Some(cursor)),
            None => fields.bad(At::REQUEST, "page_token", FOREIGN),
        },
        None => fields.bad(At::REQUEST, "page_token", FOREIGN),
    }
}

/// What is said of a token that this service did not make.
pub(crate) const FOREIGN: &str = "is not a page token of this service";

/// Where a page starts, in a form that a token can carry.
pub(crate) trait Cursor: Sized {
    /// Strings and numbers.
    type Wire: Serialize + DeserializeOwned;

    /// The form in the token.
    fn into_wire(self) -> Self::Wire;

    /// Reads the form in the token. `None` if this service cannot have made it.
    fn from_wire(wire: Self::Wire) -> Option<Self>;
}

/// A sequence number.
impl Cursor for i64 {
    type Wire = Self;

    fn into_wire(self) -> Self {
        self
    }

    fn from_wire(wire: Self) -> Option<Self> {
        Some(wire)
    }
}

impl Cursor for SiteId {
    type Wire = String;

    fn into_wire(self) -> String {
        self.to_string()
    }

    fn from_wire(wire: String) -> Option<Self> {
        parse_guid(&wire).map(Self::from_uuid)
    }
}

/// App id, item id and variant.
impl Cursor for Unit {
    type Wire = (String, String, String);

    fn into_wire(self) -> Self::Wire {
        let Self { app_id, item_id, variant } = self;
        (app_id, item_id, variant.as_str().to_owned())
    }

    fn from_wire((app_id, item_id, variant): Self::Wire) -> Option<Self> {
        // No stored text holds a NUL (a variant escapes it), and Postgres takes none.
        let stored = [&app_id, &item_id, &variant].iter().all(|text| !text.contains('\0'));
        stored.then(|| Self { app_id, item_id, variant: Variant::from_text(variant) })
    }
}

/// App id, item id, variant and location; the location is empty for the default one.
impl Cursor for StockCursor {
    type Wire = (String, String, String, String);

    fn into_wire(self) -> Self::Wire {
        let Self { unit, location } = self;
        let (app_id, item_id, variant) = unit.into_wire();
        (app_id, item_id, variant, location.map(|id| id.to_string()).unwrap_or_default())
    }

    fn from_wire((app_id, item_id, variant, location): Self::Wire) -> Option<Self> {
        let location = match location.as_str() {
            "" => None,
            text => Some(LocationId::from_uuid(parse_guid(text)?)),
        };
        Some(Self { unit: Unit::from_wire((app_id, item_id, variant))?, location })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<C: Cursor>(query: &str, size: i32, token: &str) -> Result<Page<C>, String> {
        let mut fields = Fields::default();
        let page = Page::decode(&mut fields, Ok(query.to_owned()), size, token);
        fields.finish(page).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn a_page_ends_before_its_rows_are_too_large() {
        let rows = |count: i64| Rows { rows: (1..=count).collect(), next: Some(count) };
        let encode = |_: i64| "x".repeat(100 * 1024);
        let (messages, next) = fit(rows(100), |row| *row, encode);
        assert_eq!((messages.len(), next), (10, Some(10)));
        let (messages, next) = fit(rows(10), |row| *row, encode);
        assert_eq!((messages.len(), next), (10, Some(10)), "the page's own cursor");
        let (messages, next) = fit(rows(2), |row| *row, |_| "x".repeat(2 * 1024 * 1024));
        assert_eq!((messages.len(), next), (1, Some(1)), "one row always fits");
    }

    #[test]
    fn a_token_leads_to_its_next_page_and_to_no_other_query() {
        let unit = Unit { app_id: "app".into(), item_id: "item".into(), variant: Variant::default() };
        let next = StockCursor { unit, location: None };
        let token = decode::<StockCursor>("stock", 0, "").expect("the first page").next_token(Some(next.clone()));
        let page = decode::<StockCursor>("stock", 7, &token).expect("ours");
        assert_eq!((page.rows, page.after.as_ref()), (7, Some(&next)));
        assert_eq!(page.next_token(None), "");
        let other = decode::<StockCursor>("other", 7, &token).expect_err("another query");
        assert_eq!(other, "page_token: belongs to another query");
        let foreign = decode::<StockCursor>("stock", 1_001, "AAAA").expect_err("neither is good");
        assert_eq!(foreign, "page_size: must be 0 to 1000; bad fields: 2");
    }
}
