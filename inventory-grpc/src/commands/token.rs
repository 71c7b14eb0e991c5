//! `token`: creates, lists and revokes the tokens of callers, on a database that exists. Servers follow within seconds.
//!
//! Each change is in the journal, which `token journal` prints. The text of a token is printed once, or kept in a file.
//! If it cannot be printed, `token create` fails and says that the token exists.

use std::error::Error;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use inventory_core::engine::clock::Clock;
use inventory_core::engine::tokens::{self, TokenError};
use inventory_core::model::access::{Author, Token, TokenHash, TokenName, TokenState};
use inventory_core::model::journal::{JournalEntry, SettingChange};
use inventory_core::model::limits;
use inventory_core::store::{Open, Store};
use inventory_program::{Out, tell, with_causes};

use super::print::{print, unless_closed};
use crate::access::{is_token, new_token};
use crate::config::token::{Command, Create, Expiry, Revoke};
use crate::encode::timestamp;

/// The actor of these changes in the journal.
const ACTOR: &str = "inventory-grpc token";

/// Runs one of the commands.
pub async fn token(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Create(settings) => create(settings).await,
        Command::List(database) => unless_closed(list(&Store::open(database.database_url, Open::ReadOnly)?).await),
        Command::Revoke(settings) => revoke(settings),
        Command::Journal(database) => {
            unless_closed(journal(&Store::open(database.database_url, Open::ReadOnly)?).await)
        }
    }
}

async fn create(settings: Create) -> Result<(), Box<dyn Error>> {
    let Create { database, name, scope: scopes, site: mut sites, file, expires } = settings;
    sites.sort_unstable();
    sites.dedup();
    if sites.len() > limits::TOKEN_SITES_MAX {
        return Err(format!("--site: a token can have at most {} sites", limits::TOKEN_SITES_MAX).into());
    }
    let now = Clock::system().now();
    let expires_at = match expires {
        None => None,
        Some(Expiry::At(time)) if time <= now => return Err("--expires: must be in the future".into()),
        Some(Expiry::At(time)) => Some(time),
        Some(Expiry::After(micros)) => Some(now.saturating_add(micros)),
    };
    let store = Store::open(database.database_url, Open::AsIs)?;
    let scopes = scopes.into_iter().collect();
    let token = Token { name, scopes, sites, created_at: now, expires_at, revoked_at: None };
    let Some(file) = file else {
        let text = new_text()?;
        tokens::create(&store, &TokenHash::of(&text), &token, &author(), now)?;
        print(&format!("{text}\n")).map_err(|error| unseen(&token.name, error.as_ref()))?;
        tell(format_args!("the token {} is shown only now; servers accept it within {}", token.name, seconds()));
        return Ok(());
    };
    let told = |error: &dyn Display| format!("--file: {}: {error}", file.display());
    let (text, is_new) = kept_text(&file).map_err(|error| told(&error))?;
    let hash = TokenHash::of(&text);
    if is_done(&store.tokens().await?, &hash, &token).map_err(|why| told(&why))? {
        tell(format_args!("the token {} is in {} and valid; nothing was changed", token.name, file.display()));
        return Ok(());
    }
    if let Err(error) = tokens::create(&store, &hash, &token, &author(), now) {
        if is_new && !matches!(error, TokenError::Unknowable(_)) {
            std::fs::remove_file(&file).map_err(|error| told(&error))?;
        }
        return Err(error.into());
    }
    tell(format_args!("the token {} is in {}; servers accept it within {}", token.name, file.display(), seconds()));
    Ok(())
}

/// The error of a token that is in the database, although its text was not printed: a closed pipe is an error here too.
fn unseen(name: &TokenName, error: &(dyn Error + 'static)) -> String {
    format!(
        "the token {name} was created, but nobody has seen its text; revoke it (`inventory-grpc token revoke --name \
         {name}`) and create another one: {}",
        with_causes(error)
    )
}

fn new_text() -> Result<String, Box<dyn Error>> {
    Ok(new_token().map_err(|_| "the system has no random numbers now; try again")?)
}

/// The text of a token that a file holds, and whether the file is new. If it does not exist, it is made.
///
/// The file comes before the row in the database: after a crash between them, the same command completes the work.
fn kept_text(file: &Path) -> Result<(String, bool), Box<dyn Error>> {
    match std::fs::read_to_string(file) {
        Ok(text) if is_token(text.trim()) => Ok((text.trim().to_owned(), false)),
        Ok(_) => Err("the file exists, and holds no token; remove it, or name another file".into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = new_text()?;
            let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
            new.write_all(text.as_bytes())?;
            new.sync_all()?;
            Ok((text, true))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether `hash` is that of the valid token `wanted`; false if no token has it. Otherwise the error says what is
/// different. When the token expires does not count.
fn is_done(known: &[(TokenHash, Token)], hash: &TokenHash, wanted: &Token) -> Result<bool, String> {
    let Some((_, found)) = known.iter().find(|(other, _)| other == hash) else { return Ok(false) };
    let name = &found.name;
    match found.state(wanted.created_at) {
        TokenState::Expired => Err(format!("the token {name} in it has expired; remove the file to make another one")),
        TokenState::Revoked => Err(format!("the token {name} in it is revoked; remove the file to make another one")),
        TokenState::Valid if *name != wanted.name => Err(format!("it holds the token {name}; name another file")),
        TokenState::Valid if (&found.scopes, &found.sites) != (&wanted.scopes, &wanted.sites) => Err(format!(
            "the token {name} in it has other scopes or sites; revoke it and remove the file, or ask for the same"
        )),
        TokenState::Valid => Ok(true),
    }
}

fn revoke(settings: Revoke) -> Result<(), Box<dyn Error>> {
    let Revoke { database, name } = settings;
    let store = Store::open(database.database_url, Open::AsIs)?;
    tokens::revoke(&store, &name, &author(), Clock::system().now())?;
    Ok(Out::default().line(format_args!("the token {name} is revoked; servers refuse it within {}", seconds()))?)
}

/// How long servers take to know of a change.
fn seconds() -> String {
    format!("{} seconds", limits::TOKENS_EVERY.as_secs())
}

/// Who runs the command: the program, on behalf of the user of the system, if that has a name.
fn author() -> Author {
    let user = std::env::var("USER").ok().filter(|user| user.chars().count() <= limits::ACTOR_CHARS_MAX);
    Author { actor: ACTOR.to_owned(), on_behalf_of: user.unwrap_or_default() }
}

async fn list(store: &Store) -> Result<(), Box<dyn Error>> {
    let now = Clock::system().now();
    let mut text = row(&["name", "scopes", "sites", "created", "expires", "state"]);
    for (_, token) in store.tokens().await? {
        let state = match token.state(now) {
            TokenState::Valid => "valid",
            TokenState::Expired => "expired",
            TokenState::Revoked => "revoked",
        };
        let sites = if token.sites.is_empty() { "all".to_owned() } else { token.sites_text() };
        let Token { name, scopes, sites: _, created_at, expires_at, revoked_at: _ } = token;
        let expires = expires_at.map_or("never".to_owned(), |time| timestamp(time).to_string());
        let created = timestamp(created_at).to_string();
        text.push_str(&row(&[name.as_str(), &scopes.to_string(), &sites, &created, &expires, state]));
    }
    print(&text)
}

async fn journal(store: &Store) -> Result<(), Box<dyn Error>> {
    let mut text = row(&["time", "actor", "on behalf of", "subject", "before", "after"]);
    let mut last = None;
    loop {
        let page = store.token_changes(last, limits::PAGE_ROWS_MAX).await?;
        for JournalEntry { id: _, change } in page.rows {
            let SettingChange { site: _, subject, author, recorded_at, before, after } = change;
            let Author { actor, on_behalf_of } = author;
            let time = timestamp(recorded_at).to_string();
            text.push_str(&row(&[time.as_str(), &actor, &on_behalf_of, &subject, &before, &after]));
        }
        print(&std::mem::take(&mut text))?;
        last = page.next;
        if last.is_none() {
            return Ok(());
        }
    }
}

/// A row. The columns are separated by tabs.
fn row(cells: &[&str; 6]) -> String {
    format!("{}\n", cells.join("\t"))
}
