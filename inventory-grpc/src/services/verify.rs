//! `VerifySite`: reports progress and the result of a verification, and repairs what differs if asked to.
//!
//! The ledger counts as right. A repair names the level as it is stored, so changes of the site's settings during
//! the verification do not matter, and it does nothing if the level changed since it was read.
//!
//! A server does at most [`VERIFICATIONS_MAX`] at a time. A caller that does not read loses its connection (`stream`),
//! so it gives its place back.

use std::sync::Arc;

use inventory_core::engine::Engine;
use inventory_core::model::access::Author;
use inventory_core::model::action::{Action, Repair};
use inventory_core::model::command::{Command, Header, Reason};
use inventory_core::model::ids::SiteId;
use inventory_core::model::level::LevelState;
use inventory_core::model::outcome::Verdict;
use inventory_core::reports::verify::{self, Difference, Progress, Verified, VerifyError};
use inventory_core::store::Store;
use inventory_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use uuid::Uuid;

use super::stream::Reader;
use crate::status::{self, Paths, of_error};
use crate::{decode, encode};

/// Verifications at a time. Each keeps all levels of its site in memory, and reads all of its ledger.
const VERIFICATIONS_MAX: usize = 4;
/// Differences that the result lists, and that are repaired.
const DIFFERENCES_MAX: usize = 1_000;

/// The places of a server for verifications.
pub(crate) struct Verifications(Arc<Semaphore>);

impl Verifications {
    /// All places are free.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(VERIFICATIONS_MAX)))
    }

    /// A place, which is free again when the result is dropped. RESOURCE_EXHAUSTED if there is none.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.0.clone().try_acquire_owned().map_err(|_| status::too_many_verifications(VERIFICATIONS_MAX))
    }
}

/// Verifies a site. `repair_as` is the author of the repairs; `None` repairs nothing.
pub(super) async fn verify(
    store: Store,
    engine: Engine,
    site: SiteId,
    repair_as: Option<Author>,
    reader: Reader<v1::VerifySiteResponse>,
) -> Result<(), Status> {
    let to = reader.clone();
    // Each future owns its reader. If it borrowed one, the compiler could not prove that the task is `Send`.
    let progress = move |Progress { entries, expected }| {
        let message = v1::VerifySiteResponse { entries, entries_expected: expected, ..Default::default() };
        let to = to.clone();
        // Nothing more is read for a reader that has not taken this.
        async move { to.send(message).await.is_ok() }
    };
    let verified = match verify::verify(&store, site, progress).await {
        Ok(verified) => verified,
        Err(VerifyError::NoSuchSite) => return Err(status::site_not_found()),
        Err(VerifyError::Damaged(what)) => return Err(status::damaged(what)),
        Err(VerifyError::Read(error)) => return Err(of_error(error, Paths::REQUEST)),
        // The reader lost its connection, so it gets no error.
        Err(VerifyError::Stopped) => return Ok(()),
    };
    let Verified { entries, expected, levels, cut, differences, site: row } = verified;
    let default = row.settings.default_location;
    let difference_count = i64::try_from(differences.len()).unwrap_or(i64::MAX);
    let mut listed = Vec::with_capacity(differences.len().min(DIFFERENCES_MAX));
    for difference in differences.into_iter().take(DIFFERENCES_MAX) {
        let repaired = match &repair_as {
            Some(author) => repair(&engine, site, &difference, author).await?,
            None => false,
        };
        listed.push(encode::level_difference(difference, repaired, default));
    }
    let result = v1::VerifySiteResponse {
        entries,
        entries_expected: expected,
        levels,
        done: true,
        differences: listed,
        difference_count,
        archived_sequence: cut,
    };
    reader.send(result).await
}

/// Sets a level to the sum of its entries. Returns whether it did.
async fn repair(engine: &Engine, site: SiteId, difference: &Difference, author: &Author) -> Result<bool, Status> {
    let Difference { level, available, revision, recomputed, entries: _ } = difference;
    let header = Header {
        site,
        request_id: Uuid::new_v4().to_string(),
        order: None,
        reason: Reason::Correction,
        author: author.clone(),
        note: String::new(),
    };
    let found = LevelState { available: *available, revision: *revision };
    let action = Action::Repair(Repair { level: level.clone(), found, recomputed: *recomputed });
    // A repair has one item, so it is within bounds.
    let Ok(command) = Command::new(header, action) else { return Ok(false) };
    let outcome = engine.submit(command, decode::default_deadline()).await;
    let outcome = outcome.map_err(|error| of_error(error, Paths::REQUEST))?;
    Ok(matches!(outcome.verdict, Verdict::Applied(levels) if !levels.is_empty()))
}
