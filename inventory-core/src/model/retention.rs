//! What is left of entries that are gone: archived, or deleted with their site.

use crate::model::catalog::Unit;
use crate::model::ids::{LevelId, LocationId};

/// Up to where the entries of a site are gone. The default is that of a site whose entries are all there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The sequence number of the last entry that is gone; 0 if none is.
    pub sequence: i64,
    /// When it was recorded: microseconds since 1970.
    pub recorded_at: i64,
}

impl Cut {
    /// Whether entries after `after` and up to `last` include some that are gone. From 0 on, all entries are asked for
    /// that are there.
    pub fn hides(self, after: i64, last: Option<i64>) -> bool {
        let starts_before = (1..self.sequence).contains(&after);
        let ends_before = after < self.sequence && last.is_some_and(|last| last <= self.sequence);
        starts_before || ends_before
    }
}

/// A level as of the cut of its site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The level's key.
    pub level: LevelId,
    /// The unit.
    pub unit: Unit,
    /// The location as stored; `None` is the default location.
    pub location: Option<LocationId>,
    /// The level.
    pub available: i64,
    /// The number of its entries.
    pub revision: i64,
    /// The sequence number of the last of them.
    pub last_sequence: i64,
}

/// What an order did to one level by entries that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The unit.
    pub unit: Unit,
    /// The location as stored; `None` is the default location.
    pub location: Option<LocationId>,
    /// Pieces taken in all.
    pub taken: i64,
    /// Pieces given back in all.
    pub returned: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_reaches_before_the_cut_is_found() {
        let hides = |after, last| Cut { sequence: 10, recorded_at: 0 }.hides(after, last);
        assert!(hides(1, None) && hides(9, None) && hides(9, Some(20)));
        assert!(hides(0, Some(1)) && hides(0, Some(10)) && hides(5, Some(7)));
        assert!(!hides(0, None) && !hides(0, Some(11)) && !hides(10, None) && !hides(10, Some(10)) && !hides(11, None));
        assert!(!Cut::default().hides(0, Some(0)) && !Cut::default().hides(3, Some(2)));
    }
}
