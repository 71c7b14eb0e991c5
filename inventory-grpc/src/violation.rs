//! A bad field of a request, and its path.
//!
//! Decoding and `status` both name fields by these paths, so a caller finds the same spelling in every error.

/// Where a message stands in the request. Its path stands before the names of the message's fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(Option<(&'static str, usize)>);

impl At {
    /// The request itself.
    pub(crate) const REQUEST: Self = Self(None);

    /// An element of a list of the request.
    pub(crate) const fn element(list: &'static str, index: usize) -> Self {
        Self(Some((list, index)))
    }

    /// The path of a field of the message, such as `items[2].quantity`. An empty `field` is the message itself.
    pub(crate) fn path(self, field: &str) -> String {
        match self.0 {
            None => field.to_owned(),
            Some((list, index)) if field.is_empty() => format!("{list}[{index}]"),
            Some((list, index)) => format!("{list}[{index}].{field}"),
        }
    }
}

/// A bad field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its path in the request.
    pub(crate) field: String,
    /// What is wrong with it. Reads on from the path: "must be a GUID".
    pub(crate) description: String,
}
