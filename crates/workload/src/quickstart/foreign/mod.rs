//! The quickstart with another program's files: `--layout`.
//!
//! ```text
//! files of another program ─▶ adopt ─▶ writer processes on ─▶ migrate ─▶ writers off ─▶ verdict
//! ```
//!
//! The writers are other processes with plain SQL, which do not use rehome: where a file refuses them, they try the
//! other one. The verdict compares their own records, which each keeps in a file, with the rows.

mod journal;
mod judge;
mod writers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rehome_sqlite::plain::{PlainEvent, PlainFile};
use uuid::Uuid;

use super::fill::Filled;
use super::folder::Folder;
use super::journey::Journey;
use super::{QuickstartOptions, SOURCE, Stage, Stay, Step, TARGET, Tell, chosen};
use crate::load::history::{self, Wanted};
use rehome_app::error::AppError;
use rehome_app::{Access, Config, Deployment};
use rehome_observe::Observed;
use writers::Writers;
pub use writers::{PlainWriter, write};

/// Events of a stream of the history.
const STREAM_EVENTS: u64 = 20;
/// When the history's events happened.
const LONG_AGO: &str = "2025-01-01T00:00:00+00:00";
/// The interval between two reads of the writers' records.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Does all of it, and leaves the deployment open.
pub(super) async fn stay(
    options: &QuickstartOptions,
    layout: &str,
    tell: Tell<'_>,
) -> Result<Stay, AppError> {
    let folder = Folder::prepare(options.folder.as_deref(), Some(layout))?;
    let config = Config::load_from(Some(&folder.config), [])?;
    tell(Step::Opened { folder: folder.path.clone(), config: folder.config.clone() });
    let filled = fill(&folder, options)?;
    let moving = chosen(&filled, options.tenant)?;
    tell(Step::Filled { took: filled.took, tenants: filled.all, moving: moving.tenant });
    for store in [SOURCE, TARGET] {
        Deployment::adopt_store(&config, &store.parse()?, false).await?;
    }
    let deployment = Observed::open(&config, Access::Existing).await?;

    let writers = Writers::start(options, &folder, moving.tenant)?;
    watch(&writers, options.watch, Stage::Before, tell).await;
    let mut journeys = Vec::new();
    let mut on_the_way = Journey::there(&deployment, moving.tenant).await?;
    loop {
        on_the_way.until_switched(&|| writers.seen(), tell).await?;
        watch(&writers, options.watch, Stage::After, tell).await;
        if journeys.is_empty() && options.there_and_back {
            let back = on_the_way.and_back().await?;
            journeys.push(std::mem::replace(&mut on_the_way, back));
        } else {
            break;
        }
    }
    let records = writers.stop().await?;
    tell(Step::Verifying);
    let verification = on_the_way.verify().await?;
    journeys.push(on_the_way);
    tell(Step::Checking { acked: records.iter().map(journal::Journal::acked).sum() });
    let verdict =
        judge::judge(&deployment, &folder, options, moving, &journeys, &records, verification)
            .await?;
    Ok(Stay { verdict, deployment })
}

/// The file of a store.
fn file(folder: &Folder, store: &str) -> PathBuf {
    folder.path.join(format!("{store}.db"))
}

/// Makes both files, and the histories in the first.
fn fill(folder: &Folder, options: &QuickstartOptions) -> Result<Filled, AppError> {
    let began = Instant::now();
    let mut wanted = history::tenants(options.tenants, options.events, options.seed);
    if let (Some(named), Some(largest)) = (options.tenant, wanted.first_mut()) {
        largest.tenant = named;
    }
    PlainFile::open(&file(folder, TARGET), "").map_err(|error| failed(&error))?;
    for (Wanted { tenant, events }, number) in wanted.iter().zip(0_u64..) {
        let mut plain = PlainFile::open(&file(folder, SOURCE), &tenant.to_string())
            .map_err(|error| failed(&error))?;
        let made: Vec<_> = (0..*events).map(|n| old_event(options.seed, number, n)).collect();
        for some in made.chunks(5_000) {
            plain.append(some).map_err(|error| failed(&error))?;
        }
    }
    Ok(Filled { all: wanted, took: began.elapsed() })
}

fn old_event(seed: u64, tenant: u64, n: u64) -> PlainEvent {
    let (stream, version) = (n / STREAM_EVENTS, n % STREAM_EVENTS + 1);
    PlainEvent {
        id: mixed(seed, tenant << 40 | n).to_string(),
        stream: mixed(!seed, tenant << 40 | stream).to_string(),
        version: version.cast_signed(),
        at: LONG_AGO.to_owned(),
        payload: format!("{{\"n\": {n}, \"note\": \"an event of before\"}}"),
    }
}

/// A pseudo-random id, the same for the same numbers.
fn mixed(seed: u64, number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::from_u64_pair(seed, 0x7E40_3E00), &number.to_be_bytes())
}

fn failed(error: &rehome_sqlite::plain::PlainError) -> AppError {
    AppError::failed("plain_sql", format!("the other program's file: {error}"))
}

async fn watch(writers: &Writers, time: Duration, stage: Stage, tell: Tell<'_>) {
    let began = tokio::time::Instant::now();
    while began.elapsed() < time {
        tokio::time::sleep(LOOK_EVERY).await;
        tell(Step::Watching { stage, writers: writers.seen() });
    }
}
