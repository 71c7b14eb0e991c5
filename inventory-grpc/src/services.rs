//! The services of `inventory.v1`. A method checks that the caller's token is good for the site, decodes its request,
//! asks the core once, and encodes the answer.
//!
//! A write goes to the engine and is answered after it is durable. A read is one `Store::read`, so all of its answer
//! comes from one snapshot. No method decides anything about stock.

pub(crate) mod availability;
mod changes;
pub(crate) mod ledger;
mod polled;
pub(crate) mod site;
pub(crate) mod stock;
mod stream;
pub(crate) mod verify;
pub(crate) mod watch;

use inventory_core::engine::{Engine, Held};
use inventory_core::model::access::Author;
use inventory_core::model::command::Command;
use inventory_core::model::outcome::{Outcome, Verdict};
use inventory_proto::v1;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::access::Access;
use crate::decode::{self, Caller, Read, caller};
use crate::encode;
use crate::large::{LargeAnswers, Place};
use crate::receive::ForMessage;
use crate::status::{Paths, of_error, of_refusal};

/// The answer to an applied command.
struct Applied {
    /// The site's sequence number after it.
    sequence: i64,
    /// The levels that got an entry.
    levels: Vec<v1::Level>,
    /// Whether it is a replay.
    replayed: bool,
}

/// Who makes a call, and what the call says beside its message.
struct Call {
    access: Access,
    metadata: MetadataMap,
    /// The memory of its message.
    held: Held,
}

/// A request about one site.
trait OfSite {
    /// The site that the request names, as it was sent.
    fn site_id(&self) -> &str;
}

macro_rules! of_site {
    ($($request:ident),+ $(,)?) => { $(
        impl OfSite for v1::$request {
            fn site_id(&self) -> &str {
                &self.site_id
            }
        }
    )+ };
}

of_site!(
    DecrementAvailabilityRequest,
    IncrementAvailabilityRequest,
    SetStockRequest,
    AdjustStockRequest,
    MoveStockRequest,
    GetStockRequest,
    BatchGetStockRequest,
    ListStockRequest,
    GetUnitRequest,
    ListUnitsRequest,
    UpdateUnitRequest,
    BatchUpdateUnitsRequest,
    ListEntriesRequest,
    GetOrderRequest,
    ExplainLevelRequest,
    WatchEntriesRequest,
    VerifySiteRequest,
    GetSiteRequest,
    UpdateSiteRequest,
    ListSettingChangesRequest,
);

/// Takes a call apart, and refuses it if the caller's token is not good for its site.
fn call<M: OfSite>(request: Request<M>) -> Result<(Call, M), Status> {
    let (metadata, extensions, message) = request.into_parts();
    let access = Access::of(&extensions)?;
    access.check_site(message.site_id())?;
    let held = extensions.get::<ForMessage>().map(|message| message.0.clone());
    Ok((Call { access, metadata, held }, message))
}

/// Decodes a read of a site that the caller may see.
fn read<M: OfSite, T>(request: Request<M>, decode: fn(M) -> Result<Read<T>, Status>) -> Result<Read<T>, Status> {
    let (Call { access: _, metadata, held: _ }, message) = call(request)?;
    let mut read = decode(message)?;
    read.terms.deadline = decode::deadline(&metadata);
    Ok(read)
}

/// Decodes a read of a site whose answer may be large, once there is a place for it.
async fn read_large<M: OfSite, T>(
    answers: &LargeAnswers,
    request: Request<M>,
    decode: fn(M) -> Result<Read<T>, Status>,
) -> Result<(Place, Read<T>), Status> {
    let place = answers.place(request.extensions()).await?;
    Ok((place, read(request, decode)?))
}

/// Decodes a write, submits it, and returns what was applied. A refusal becomes a status, so a caller that forgets to
/// look cannot take it for success.
async fn write<M>(
    engine: &Engine,
    call: &Call,
    message: M,
    decode: fn(M, Author) -> Result<Command, Status>,
) -> Result<Applied, Status> {
    let Caller { author, deadline, detail_bytes } = caller(&call.metadata, &call.access)?;
    let command = decode(message, author)?;
    let submitted = engine.submit_holding(command, deadline, call.held.clone()).await;
    let outcome = submitted.map_err(|error| of_error(error, Paths::ITEMS))?;
    // The engine has counted the findings.
    let Outcome { site: _, default_location, sequence, replayed, verdict, findings: _ } = outcome;
    match verdict {
        Verdict::Applied(levels) => {
            let levels = levels.into_iter().map(|level| encode::level(level, default_location)).collect();
            Ok(Applied { sequence, levels, replayed })
        }
        Verdict::Refused(refusal) => Err(of_refusal(refusal, default_location, detail_bytes)),
    }
}
