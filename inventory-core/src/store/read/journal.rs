//! Reading tokens, and the journal of settings.

use super::{Page, Snapshot};
use crate::model::access::{Token, TokenHash};
use crate::model::error::Error;
use crate::model::journal::JournalEntry;
use crate::store::{Store, access};

impl Store {
    /// All tokens in the order of their names, those that expired or were revoked included.
    pub async fn tokens(&self) -> Result<Vec<(TokenHash, Token)>, Error> {
        self.blocking(|mut connection| Ok(access::tokens(&mut connection)?)).await
    }

    /// A page of the changes of tokens, oldest first, after the number `after`.
    pub async fn token_changes(&self, after: Option<i64>, rows: i64) -> Result<Page<JournalEntry, i64>, Error> {
        self.blocking(move |mut connection| {
            let found = access::journal(&mut connection, None, after, false, rows + 1)?;
            Ok(Page::cut(found, rows, |entry| entry.id))
        })
        .await
    }
}

impl Snapshot<'_> {
    /// A page of the changes of the site's settings, after the number `after` or, newest first, before it.
    pub fn setting_changes(
        &mut self,
        after: Option<i64>,
        newest_first: bool,
        rows: i64,
    ) -> Result<Page<JournalEntry, i64>, Error> {
        let site = Some(self.site.id);
        let found = access::journal(self.connection()?, site, after, newest_first, rows + 1)?;
        Ok(Page::cut(found, rows, |entry| entry.id))
    }
}
