//! The verdict: the writers' measurements, and whether the stores match the acknowledgements.

use std::path::PathBuf;
use std::sync::Arc;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Fact;
use rehome_engine::verifier::Report;
use rehome_ports::{LedgerStore, LogEntry};
use serde::Serialize;
use uuid::Uuid;

use super::QuickstartOptions;
use super::folder::Folder;
use super::journey::Journey;
use crate::load::check::{self, Checked, Source};
use crate::load::history::Wanted;
use crate::load::observe::{self, Observed, Timeline};
use crate::load::record::Record;
use rehome_app::Deployment;
use rehome_app::error::AppError;

/// The document that `quickstart --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Nothing is lost, duplicated, reordered or otherwise wrong, and the stores hold the same.
    pub ok: bool,
    /// Who moved.
    pub tenant_id: Uuid,
    /// How many events the tenant had when its writers began.
    pub events: u64,
    /// How many it has now.
    pub events_now: u64,
    /// How many writers there were.
    pub writers: u16,
    /// Events that were acknowledged to them.
    pub acked: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There more than once.
    pub duplicated: u64,
    /// There, but not where or in the order it was acknowledged.
    pub reordered: u64,
    /// There with another content than it was sent with.
    pub altered: u64,
    /// Stored although never sent, or refused.
    pub unexpected: u64,
    /// Positions or versions that nothing holds.
    pub gaps: u64,
    /// Appends that were refused although their writer did nothing wrong.
    pub refused: u64,
    /// The first of these findings, in words.
    pub findings: Vec<String>,
    /// Latency of the appends that the cutover can have held up, as their writers saw it.
    pub pause_ms: Spread,
    /// Latency of all appends, by when they were made.
    pub append_ms: Appends,
    /// How fast the history was copied.
    pub copy: Copied,
    /// The comparison of the two stores, event by event.
    pub verification: Verified,
    /// The migration.
    pub migration: Moved,
    /// The return, if requested.
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    pub back: Option<Returned>,
    /// What made data was drawn from.
    pub seed: u64,
    /// Where the stores are.
    pub directory: PathBuf,
    /// The configuration with which other commands find them.
    pub config: PathBuf,
    /// The databases that were made for them, if they are not files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
}

/// A summary of many latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// Half of them are at most this.
    pub p50: f64,
    /// Ninety-nine of a hundred are at most this.
    pub p99: f64,
    /// None is more.
    pub max: f64,
    /// How many appends there were.
    pub appends: u64,
}

/// Latencies by when the appends were made.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Appends {
    /// Acknowledged before the migration was started.
    pub before: Spread,
    /// From its start to the first acknowledgement behind the switch.
    pub during: Spread,
    /// Sent after that.
    pub after: Spread,
}

/// How fast the history was copied.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Copied {
    /// Events that were in the target when mirroring began.
    pub events: u64,
    /// Its duration.
    pub seconds: f64,
    /// Events per second; `null` when there was next to nothing to copy.
    pub events_per_s: Option<u64>,
}

/// The comparison of two stores.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// How deep.
    pub level: String,
    /// Whether nothing differs.
    pub ok: bool,
    /// Events compared.
    pub events_checked: u64,
    /// How many violations there are.
    pub violations_total: u64,
    /// The first of them.
    pub violations: Vec<String>,
}

/// A migration, as the quickstart reports it.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// Its id.
    pub id: Uuid,
    /// The source store.
    pub source_store: String,
    /// The target store.
    pub target_store: String,
    /// Its state.
    pub state: String,
    /// Number of started cutovers.
    pub cutover_attempts: u32,
}

/// The way back.
#[derive(Clone, Debug, Serialize)]
pub struct Returned {
    /// Latency of the appends that this cutover can have held up.
    pub pause_ms: Spread,
    /// Latency of all appends, by when they were made.
    pub append_ms: Appends,
    /// The migration back.
    pub migration: Moved,
}

impl From<observe::Latencies> for Spread {
    fn from(seen: observe::Latencies) -> Self {
        Self { p50: seen.p50_ms, p99: seen.p99_ms, max: seen.max_ms, appends: seen.count }
    }
}

impl From<&Observed> for Appends {
    fn from(seen: &Observed) -> Self {
        Self { before: seen.before.into(), during: seen.during.into(), after: seen.after.into() }
    }
}

impl Verified {
    fn of(report: &Report) -> Self {
        Self {
            level: report.level.to_string(),
            ok: report.violations_total == 0,
            events_checked: report.events_checked,
            violations_total: report.violations_total,
            violations: report.violations.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Compares the writers' record with the history, read once as applications read it and once from
/// the store that it is in now, and puts all numbers together.
pub(super) async fn judge(
    deployment: &Deployment,
    folder: &Folder,
    options: &QuickstartOptions,
    moving: Wanted,
    journeys: &[Journey],
    record: &Record,
    verification: Report,
) -> Result<Verdict, AppError> {
    let records = std::slice::from_ref(record);
    let engine = deployment.engine();
    let routed = check::check(&Source::Router(engine.router()), moving.tenant, records).await?;
    let home = home(deployment, journeys).await?;
    let stored = check::check(&Source::Store(&**home), moving.tenant, records).await?;
    let checked = worse(routed, stored);
    tell(deployment, folder, options, moving, journeys, record, checked, verification).await
}

/// The store that the last migration moved to.
async fn home<'a>(
    deployment: &'a Deployment,
    journeys: &[Journey],
) -> Result<&'a Arc<dyn LedgerStore>, AppError> {
    let last = journeys.last();
    let last = last.ok_or_else(|| AppError::failed("not_migrated", "no migration was started"))?;
    let migration = deployment.engine().control().migration(last.id).await?;
    Ok(deployment.store(&migration.target)?)
}

/// Puts all numbers together, with what a check of the record has found.
#[expect(clippy::too_many_arguments, reason = "each is another kind of evidence")]
pub(super) async fn tell(
    deployment: &Deployment,
    folder: &Folder,
    options: &QuickstartOptions,
    moving: Wanted,
    journeys: &[Journey],
    record: &Record,
    checked: Checked,
    verification: Report,
) -> Result<Verdict, AppError> {
    let records = std::slice::from_ref(record);
    let mut legs: Vec<Leg> = Vec::new();
    let mut until = i64::MAX;
    // The last one first: each ends where the next one begins.
    for journey in journeys.iter().rev() {
        let leg = Leg::read(deployment, journey.id, records, until).await?;
        until = leg.started;
        legs.insert(0, leg);
    }
    let (Some(first), Some(last)) = (legs.first(), legs.last()) else {
        return Err(AppError::failed("not_migrated", "no migration was started"));
    };
    let home = home(deployment, journeys).await?;
    let events_now = home.ledger(moving.tenant).await?.head.seq;
    let verification = Verified::of(&verification);
    Ok(Verdict {
        ok: checked.is_clean() && verification.ok && checked.events_read == events_now,
        tenant_id: moving.tenant.uuid(),
        events: moving.events,
        events_now,
        writers: options.writers,
        acked: checked.acked,
        lost: checked.lost,
        duplicated: checked.duplicated,
        reordered: checked.reordered,
        altered: checked.altered,
        unexpected: checked.unexpected,
        gaps: checked.gaps,
        refused: checked.refused,
        findings: checked.examples,
        pause_ms: first.seen.pause.into(),
        append_ms: (&first.seen).into(),
        copy: first.copied,
        verification,
        migration: first.moved.clone(),
        back: (legs.len() > 1).then(|| Returned {
            pause_ms: last.seen.pause.into(),
            append_ms: (&last.seen).into(),
            migration: last.moved.clone(),
        }),
        seed: options.seed,
        directory: folder.path.clone(),
        config: folder.config.clone(),
        databases: folder.databases.clone(),
    })
}

/// Of two checks of the same history, the one that found more.
fn worse(a: Checked, b: Checked) -> Checked {
    let found = |checked: &Checked| if checked.is_clean() { 0 } else { checked.examples.len() + 1 };
    if found(&b) > found(&a) || (found(&a) == found(&b) && b.events_read < a.events_read) {
        b
    } else {
        a
    }
}

/// What one migration came to.
struct Leg {
    started: i64,
    seen: Observed,
    copied: Copied,
    moved: Moved,
}

impl Leg {
    async fn read(
        deployment: &Deployment,
        id: MigrationId,
        records: &[Record],
        until: i64,
    ) -> Result<Self, AppError> {
        const ENTRIES_MAX: usize = 1_000;
        let control = deployment.engine().control();
        let log = control.log(id, 0, ENTRIES_MAX).await?;
        let migration = control.migration(id).await?;
        let timeline = Timeline { until, ..Timeline::of(&log) };
        Ok(Self {
            started: timeline.started,
            seen: observe::observe(records, &timeline),
            copied: copied(&log),
            moved: Moved {
                id: id.uuid(),
                source_store: migration.source.to_string(),
                target_store: migration.target.to_string(),
                state: migration.state.phase().to_string(),
                cutover_attempts: migration.cutover_attempts,
            },
        })
    }
}

fn copied(log: &[LogEntry]) -> Copied {
    let (mut began, mut copied) = (0, Copied { events: 0, seconds: 0.0, events_per_s: None });
    for entry in log {
        match entry.fact {
            Fact::CopyStarted => began = entry.at.micros(),
            Fact::CopyCompleted { events } => {
                copied.events = events;
                copied.seconds = (entry.at.micros() - began) as f64 / 1e6;
            }
            _ => {}
        }
    }
    if copied.seconds > 0.001 {
        copied.events_per_s = Some(rate(copied.events, copied.seconds));
    }
    copied
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is no more than the events, and not below 0"
)]
fn rate(events: u64, seconds: f64) -> u64 {
    (events as f64 / seconds).round() as u64
}
