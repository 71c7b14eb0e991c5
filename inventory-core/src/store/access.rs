//! Tokens and the journal of settings: statements that both backends understand.

use diesel::prelude::*;

use crate::model::access::{Author, Scopes, Token, TokenHash, TokenName};
use crate::model::error::StoreError;
use crate::model::ids::SiteId;
use crate::model::journal::{JournalEntry, SettingChange};
use crate::model::limits;
use crate::store::connection::{AnyConnection, on};
use crate::store::tables::{journal, token};

/// A row of `token`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = token)]
struct TokenRecord {
    name: String,
    hash: Vec<u8>,
    scopes: String,
    sites: String,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl TryFrom<TokenRecord> for (TokenHash, Token) {
    type Error = StoreError;

    fn try_from(record: TokenRecord) -> Result<Self, StoreError> {
        let TokenRecord { name, hash, scopes, sites, created_at, expires_at, revoked_at } = record;
        let damaged = StoreError::Damaged("a token that this version does not know");
        let read = || {
            let token = Token {
                name: TokenName::new(&name)?,
                scopes: Scopes::from_text(&scopes)?,
                sites: Token::sites_from_text(&sites)?,
                created_at,
                expires_at,
                revoked_at,
            };
            Some((TokenHash::from_bytes(hash.try_into().ok()?), token))
        };
        read().ok_or(damaged)
    }
}

/// All tokens in the order of their names, those that expired or were revoked included.
pub(crate) fn tokens(connection: &mut AnyConnection<'_>) -> Result<Vec<(TokenHash, Token)>, StoreError> {
    let found: Vec<TokenRecord> = on!(connection, |c| {
        let all = token::table.order(token::name).limit(limits::TOKENS_MAX as i64);
        all.select(TokenRecord::as_select()).load(c)
    })?;
    found.into_iter().map(TryFrom::try_from).collect()
}

/// Writes a token, in the place of the one that has its name.
pub(crate) fn write_token(
    connection: &mut AnyConnection<'_>,
    hash: &TokenHash,
    written: &Token,
) -> Result<(), StoreError> {
    let Token { name, scopes, sites: _, created_at, expires_at, revoked_at } = written;
    let (scopes, sites) = (scopes.to_string(), written.sites_text());
    on!(connection, |c| {
        let columns = (
            token::hash.eq(hash.as_bytes().as_slice()),
            token::scopes.eq(&scopes),
            token::sites.eq(&sites),
            token::created_at.eq(created_at),
            token::expires_at.eq(expires_at),
            token::revoked_at.eq(revoked_at),
        );
        diesel::insert_into(token::table)
            .values((token::name.eq(name.as_str()), columns))
            .on_conflict(token::name)
            .do_update()
            .set(columns)
            .execute(c)
    })?;
    Ok(())
}

/// Writes rows of the journal.
pub(crate) fn write_journal(connection: &mut AnyConnection<'_>, changes: &[SettingChange]) -> Result<(), StoreError> {
    for SettingChange { site, subject, author: Author { actor, on_behalf_of }, recorded_at, before, after } in changes {
        on!(connection, |c| {
            let columns = (
                journal::site_id.eq(site),
                journal::recorded_at.eq(recorded_at),
                journal::actor.eq(actor),
                journal::on_behalf_of.eq(on_behalf_of),
                journal::subject.eq(subject),
                journal::before.eq(before),
                journal::after.eq(after),
            );
            diesel::insert_into(journal::table).values(columns).execute(c)
        })?;
    }
    Ok(())
}

/// A row of `journal`.
#[derive(Queryable, Selectable)]
#[diesel(table_name = journal)]
struct JournalRecord {
    change_id: i64,
    site_id: Option<SiteId>,
    recorded_at: i64,
    actor: String,
    on_behalf_of: String,
    subject: String,
    before: String,
    after: String,
}

impl From<JournalRecord> for JournalEntry {
    fn from(record: JournalRecord) -> Self {
        let JournalRecord { change_id, site_id, recorded_at, actor, on_behalf_of, subject, before, after } = record;
        let author = Author { actor, on_behalf_of };
        Self { id: change_id, change: SettingChange { site: site_id, subject, author, recorded_at, before, after } }
    }
}

/// The first `rows` changes of a site, or of tokens if there is no site, after the number `after` or, newest first,
/// before it.
pub(crate) fn journal(
    connection: &mut AnyConnection<'_>,
    site: Option<SiteId>,
    after: Option<i64>,
    newest_first: bool,
    rows: i64,
) -> Result<Vec<JournalEntry>, StoreError> {
    let found: Vec<JournalRecord> = on!(connection, |c| {
        let mut query = journal::table.select(JournalRecord::as_select()).limit(rows).into_boxed();
        query = match site {
            Some(site) => query.filter(journal::site_id.eq(site)),
            None => query.filter(journal::site_id.is_null()),
        };
        query = match (newest_first, after) {
            (true, Some(after)) => query.filter(journal::change_id.lt(after)),
            (false, Some(after)) => query.filter(journal::change_id.gt(after)),
            (true | false, None) => query,
        };
        // The site is fixed. To name it lets the index give the order.
        match newest_first {
            true => query.order((journal::site_id.desc(), journal::change_id.desc())).load(c),
            false => query.order((journal::site_id, journal::change_id)).load(c),
        }
    })?;
    Ok(found.into_iter().map(JournalEntry::from).collect())
}
