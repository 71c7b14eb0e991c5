//! `watch`: every entry of a site's ledger as it happens, one line each.
//!
//! It prints each entry once, in order and without gaps. When the server or the connection is away, it asks again until
//! it is back, and goes on after the last entry that it has printed.

use std::error::Error;
use std::time::Duration;

use inventory_program::tell;
use inventory_proto::v1;
use tonic::{Status, Streaming};

use super::json;
use super::names::Names;
use super::page::{ACTION_WIDTH, action, at_location, details, moved};
use super::print::{print, reader_left, unless_closed};
use super::session::{Session, passes, transport};
use crate::config::by_hand::{Ask, Watch};

/// The pause before asking again. It doubles up to the longest one.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A server sends a heartbeat every few seconds. After so long without a message the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Characters of the column of units; a longer name takes more.
const UNIT_WIDTH: usize = 12;

/// Prints entries until somebody ends it.
pub async fn watch(settings: Watch) -> Result<(), Box<dyn Error>> {
    tokio::select! {
        result = follow(settings) => unless_closed(result),
        () = reader_left() => Ok(()),
    }
}

async fn follow(settings: Watch) -> Result<(), Box<dyn Error>> {
    let Watch { after, ask } = settings;
    let session = Session::open(&ask).await?;
    let mut after = match after {
        Some(after) => after,
        // From now on. Nothing may have been written for the site yet.
        None => session.site().await?.unwrap_or_default().sequence,
    };
    let mut pause = PAUSE;
    let mut is_away = false;
    let mut began = false;
    loop {
        let ended = match begin(&session, after).await {
            Ok((mut messages, first)) => {
                let Session { address, site_id, .. } = &session;
                tell(match began {
                    false => format!("watching the site {site_id} at {address} after entry {after}; Ctrl-C ends it"),
                    true => format!("{address}: the server is back; going on after entry {after}"),
                });
                (began, is_away, pause) = (true, false, PAUSE);
                let mut message = first;
                loop {
                    let v1::WatchEntriesResponse { entries, sequence } = message;
                    show(&session, &ask, &entries).await?;
                    after = sequence;
                    message = match next(&mut messages).await {
                        Ok(message) => message,
                        Err(status) => break status,
                    };
                }
            }
            Err(status) => status,
        };
        if !began || !passes(&ended) {
            return Err(session.not_read(&ended, None));
        }
        if !is_away {
            is_away = true;
            let why = transport(&ended);
            let address = &session.address;
            tell(format_args!("{address}: {why}; asking again until the server is back, after entry {after}"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Begins to watch. The first message comes at once.
async fn begin(
    session: &Session,
    after_sequence: i64,
) -> Result<(Streaming<v1::WatchEntriesResponse>, v1::WatchEntriesResponse), Status> {
    let request = v1::WatchEntriesRequest { site_id: session.site_id.clone(), after_sequence };
    // No deadline: the call lasts as long as somebody watches.
    let mut client = session.connection.ledger();
    let began = client.watch_entries(super::signed(request));
    let began = tokio::time::timeout(SILENCE_MAX, began).await.map_err(|_| silent())?;
    let mut entries = began?.into_inner();
    let first = next(&mut entries).await?;
    Ok((entries, first))
}

async fn next(entries: &mut Streaming<v1::WatchEntriesResponse>) -> Result<v1::WatchEntriesResponse, Status> {
    match tokio::time::timeout(SILENCE_MAX, entries.message()).await {
        Ok(message) => message?.ok_or_else(|| Status::unavailable("the server has ended the stream")),
        Err(_) => Err(silent()),
    }
}

fn silent() -> Status {
    Status::unavailable(format!("nothing came for {} seconds", SILENCE_MAX.as_secs()))
}

async fn show(session: &Session, ask: &Ask, entries: &[v1::Entry]) -> Result<(), Box<dyn Error>> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    if ask.json {
        for entry in entries {
            text.push_str(&format!("{}\n", json::of(entry)?));
        }
    } else {
        let names = Names::of(session, entries.iter().map(|entry| &entry.catalog_reference)).await;
        text.extend(entries.iter().map(|entry| line(entry, &names)));
    }
    print(&text)
}

/// An entry as a line.
fn line(entry: &v1::Entry, names: &Names) -> String {
    let mut unit = names.name(&entry.catalog_reference);
    if !entry.location_id.is_empty() {
        unit = format!("{unit} {}", at_location(&entry.location_id));
    }
    let action = action(entry.kind(), entry.reason());
    let line = format!("{}  {unit:<UNIT_WIDTH$}  {action:<ACTION_WIDTH$}  {}", moved(entry), details(entry, true));
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn an_entry_is_one_line() {
        let (app_id, catalog_item_id) = ("app".to_owned(), "mug".to_owned());
        let entry = v1::Entry {
            sequence: 42,
            delta: -2,
            asked_delta: -2,
            level_after: 3,
            kind: v1::Kind::Adjust.into(),
            reason: v1::Reason::Damaged.into(),
            actor: "erp".into(),
            note: "line\nbreak".into(),
            catalog_reference: Some(v1::CatalogReference { app_id, catalog_item_id, ..Default::default() }),
            record_time: Some(Timestamp { seconds: 0, nanos: 0 }),
            ..Default::default()
        };
        let told = |entry: &v1::Entry| strip_str(&line(entry, &Names::default())).to_string();
        let start = "   #42  1970-01-01 00:00:00      -2 -> 3      app/mug";
        assert_eq!(told(&entry), format!("{start}       adjust, damaged            by erp  \"line\u{fffd}break\"\n"));
        let plain = v1::Entry { actor: String::new(), note: String::new(), location_id: "here".into(), ..entry };
        assert_eq!(told(&plain), format!("{start} at here  adjust, damaged\n"));
    }
}
