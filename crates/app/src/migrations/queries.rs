//! Queries: one migration, many, their logs.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rehome_api as api;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::ledger::{Head, Ledger};
use rehome_domain::migration::{Cutover, Fact, Migration, Phase, Tally};
use rehome_engine::migration::Waiting;
use rehome_engine::{Braked, Progress, UnknownStore};
use rehome_ports::log_chain::{Followed, follows};
use rehome_ports::{ActiveLease, Beside, ControlError, LogEntry, Marks};

use crate::deployment::Deployment;
use crate::documents::{self, Age, Ages};
use crate::error::{AppError, Kind};
use crate::lists::{self, MigrationsWanted};
use crate::store_watch::Sight;

/// Log entries read at once.
const PAGE: usize = 500;
/// Log entries that are read before a page: enough to see the beginning of a cutover that ends in it.
const ENTRIES_BEFORE: u64 = 32;
/// Migrations described side by side.
const SIDE_BY_SIDE: usize = 32;

/// How long the histories in the two stores of a migration are, as last known.
#[derive(Clone, Debug)]
pub struct Lengths {
    /// The history in the source.
    pub source: Sight<u64>,
    /// The history in the target.
    pub target: Sight<u64>,
}

impl Lengths {
    /// The source's and the target's, whatever their age.
    pub fn both(&self) -> Option<(u64, u64)> {
        Some((*self.source.value()?, *self.target.value()?))
    }

    /// When one of the two stores answered last.
    pub fn at(&self) -> Option<Timestamp> {
        self.source.at().max(self.target.at())
    }

    fn ages(&self) -> Ages {
        Ages { source: Age::of(&self.source), target: Age::of(&self.target) }
    }
}

fn length(ledger: Ledger) -> u64 {
    ledger.head.seq
}

/// What a migration's log records of its cutovers.
#[derive(Default)]
struct Past {
    cutovers: Vec<Cutover>,
    /// The head at the switch; `None`: it has not switched.
    switched_at: Option<Head>,
}

/// The numbers of a migration that has switched: those of its switch, for ever.
fn switched(migration: &Migration, marks: &Marks, head: Head) -> Progress {
    Progress {
        events_copied: head.seq,
        events_total: head.seq,
        read_back_seq: marks
            .read_back
            .filter(|mark| mark.m == migration.m)
            // The last events are read back in the pause, just before the switch.
            .map_or(head.seq, |mark| mark.head.seq.max(head.seq)),
        ..Progress::default()
    }
}

/// A migration and how far it is.
pub async fn show(deployment: &Deployment, id: MigrationId) -> Result<api::Migration, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    describe(deployment, &migration).await
}

/// The revision of the route of the migration's tenant, for conditional changes.
pub async fn revision(deployment: &Deployment, tenant: TenantId) -> Result<u64, AppError> {
    let route = deployment.engine().control().route(tenant).await?;
    Ok(route.ok_or(ControlError::UnknownTenant(tenant))?.rev)
}

/// Migrations, newest first.
pub async fn list(
    deployment: &Deployment,
    wanted: &MigrationsWanted,
) -> Result<Vec<api::Migration>, AppError> {
    let control = deployment.engine().control();
    if let Some(before) = wanted.before {
        // A cursor that is not there would have nothing after it, quietly.
        control.migration(before).await?;
    }
    let found = lists::migrations_found(deployment, wanted).await?;
    let beside = control.beside(&found, Waiting::MEMO).await?;
    // Side by side: a store that does not answer is waited for once.
    let documents = found.iter().zip(&beside);
    let documents: Vec<_> =
        documents.map(|(migration, beside)| describe_with(deployment, migration, beside)).collect();
    let mut documents: Vec<api::Migration> =
        stream::iter(documents).buffered(SIDE_BY_SIDE).try_collect().await?;
    documents.retain(|migration| !wanted.needs_you || !migration.needs.is_empty());
    Ok(documents)
}

/// The row with its numbers. The ledgers have those of the tenant's last migration only; for one that
/// is migrated, its log has them permanently.
async fn describe(
    deployment: &Deployment,
    migration: &Migration,
) -> Result<api::Migration, AppError> {
    let control = deployment.engine().control();
    let beside = control.beside(std::slice::from_ref(migration), Waiting::MEMO).await?;
    let unknown = || ControlError::UnknownMigration(migration.id);
    let described =
        describe_with(deployment, migration, beside.first().ok_or_else(unknown)?).await?;
    let hooks = deployment.engine().undelivered(migration.id).await?;
    let works = matches!(migration.state.phase(), Phase::BulkCopy | Phase::DualWrite);
    let braked = if works { control.memo(migration.id, Braked::MEMO).await? } else { None };
    let braked = braked.as_ref().and_then(Braked::of_memo);
    let throttle_reason = braked.and_then(|braked| braked.why).map(|why| why.as_str().to_owned());
    let throttle_percent = braked.map(|braked| braked.percent);
    Ok(api::Migration { hooks, throttle_percent, throttle_reason, ..described })
}

async fn describe_with(
    deployment: &Deployment,
    migration: &Migration,
    beside: &Beside,
) -> Result<api::Migration, AppError> {
    // If the writing process has died, its memo may be outdated.
    let memo = beside.memo.as_ref().filter(|_| beside.lease.is_some());
    let waiting = memo.and_then(Waiting::of_memo);
    let marks = &beside.marks;
    let past = past(deployment, migration).await?;
    let document = |progress: Option<&Progress>, ages: Ages, waiting| {
        let last_cutover = past.cutovers.last();
        let last_cutover = last_cutover.map(|last| documents::cutover(last, deployment.now()));
        documents::migration(migration, beside.is_last, progress, ages, waiting, last_cutover)
    };
    match migration.state.phase() {
        Phase::Migrated => {
            let progress = past.switched_at.map(|head| switched(migration, marks, head));
            return Ok(document(progress.as_ref(), Ages::default(), waiting));
        }
        Phase::RolledBack if !beside.is_last => {
            return Ok(document(None, Ages::default(), None));
        }
        _ => {}
    }
    // A store that is no longer configured leaves its numbers unknown.
    let Ok(lengths) = lengths(deployment, migration, marks).await else {
        return Ok(document(None, Ages::default(), waiting));
    };
    let now = deployment.now();
    let progress = lengths.both().map(|lengths| Progress::of(migration, lengths, marks, now));
    Ok(document(progress.as_ref(), lengths.ages(), waiting))
}

/// The last known lengths of the histories in the two stores of a migration. The target is
/// read first: a write in between makes the lag too large, never too small.
pub async fn lengths(
    deployment: &Deployment,
    migration: &Migration,
    marks: &Marks,
) -> Result<Lengths, UnknownStore> {
    let watch = deployment.store_watch();
    let mut target = watch.ledger(&migration.target, migration.tenant).await?.map(length);
    let source = watch.ledger(&migration.source, migration.tenant).await?.map(length);
    // Of a target that this process has never seen, it is known up to where it was read back.
    let read_back = marks.read_back.filter(|mark| mark.m == migration.m);
    if let (None, Some(mark)) = (&target.last, read_back) {
        target.last = Some((mark.head.seq, marks.updated_at));
    }
    Ok(Lengths { source, target })
}

/// What a migration's log records of its cutovers; the log is not read where none has begun.
async fn past(deployment: &Deployment, migration: &Migration) -> Result<Past, AppError> {
    let mut past = Past::default();
    if migration.cutover_attempts == 0 {
        return Ok(past);
    }
    let control = deployment.engine().control();
    let (mut after, mut tally) = (0, Tally::default());
    loop {
        let entries = control.log(migration.id, after, PAGE).await?;
        for entry in &entries {
            tally.add(entry.at, &entry.fact);
            if let Fact::Switched { head } = &entry.fact {
                past.switched_at = Some(*head);
            }
        }
        match entries.last() {
            Some(last) if entries.len() == PAGE => after = last.index,
            _ => break,
        }
    }
    past.cutovers = tally.cutovers;
    Ok(past)
}

/// The cutovers of a migration, in their order.
pub async fn cutovers(
    deployment: &Deployment,
    id: MigrationId,
) -> Result<Vec<api::Cutover>, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let past = past(deployment, &migration).await?;
    Ok(past.cutovers.iter().map(|cutover| documents::cutover(cutover, deployment.now())).collect())
}

/// Who works on a migration by its lease, for people.
pub async fn lease(deployment: &Deployment, id: MigrationId) -> Result<Option<String>, AppError> {
    let lease = deployment.engine().control().lease_holder(id).await?;
    Ok(lease.map(|lease| lease.holder))
}

/// The lease of a migration, where another process holds it.
pub async fn lease_of_another(
    deployment: &Deployment,
    id: MigrationId,
) -> Result<Option<ActiveLease>, AppError> {
    let lease = deployment.engine().control().lease_holder(id).await?;
    Ok(lease.filter(|lease| lease.holder != deployment.holder()))
}

/// A migration's options.
pub async fn options_of(
    deployment: &Deployment,
    id: MigrationId,
) -> Result<api::Options, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    Ok(crate::options::document(&migration.options))
}

/// All that was recorded of a migration.
pub async fn read_log(
    deployment: &Deployment,
    id: MigrationId,
) -> Result<Vec<LogEntry>, ControlError> {
    let control = deployment.engine().control();
    let mut log: Vec<LogEntry> = Vec::new();
    loop {
        let after = log.last().map_or(0, |entry| entry.index);
        let page = control.log(id, after, PAGE).await?;
        let over = page.len() < PAGE;
        log.extend(page);
        if over {
            return Ok(log);
        }
    }
}

/// The log after entry `after`, a page of it; an entry that differs from what was recorded is marked.
pub async fn log(
    deployment: &Deployment,
    id: MigrationId,
    after: u64,
) -> Result<Vec<api::LogEntry>, AppError> {
    deployment.engine().control().migration(id).await?;
    let control = deployment.engine().control();
    let begin = after.saturating_sub(ENTRIES_BEFORE);
    let count = usize::try_from(after - begin).unwrap_or(0);
    let earlier = if after == 0 { Vec::new() } else { control.log(id, begin, count).await? };
    let before = match after {
        0 => Some(Followed::START),
        _ => earlier.last().filter(|entry| entry.index == after).map(Followed::to),
    };
    let entries = control.log(id, after, PAGE).await?;
    // An entry that was read once is there for ever, unless the control plane lost it.
    if entries.is_empty() && before.is_none() {
        let message = format!(
            "entry {after} is beyond the end of the log: the control plane has lost entries (restored \
                 from a backup?), or it is not an entry of this log; read on from 0"
        );
        return Err(AppError::new(Kind::Refused, "position_beyond_end", message).migration(id));
    }
    // Without the entry before, its hash is unknown: the next one is reported as broken.
    let mut before =
        before.unwrap_or(Followed { index: after.saturating_sub(1), ..Followed::START });
    let mut tally = Tally::of(earlier.iter().map(|entry| (entry.at, &entry.fact)));
    let documents = entries.iter().map(|entry| {
        let broken = follows(before, entry).err();
        before = Followed::to(entry);
        let mut document = documents::log_entry(entry);
        document.chain_broken = broken.map(|broken| broken.to_string());
        let waited = tally.cutovers.last().is_some_and(|last| last.resumed.is_none());
        tally.add(entry.at, &entry.fact);
        // The entry that ended a write pause has its length.
        if let Some(last) = tally.cutovers.last().filter(|last| waited && last.resumed.is_some()) {
            let pause = documents::millis(last.pause(entry.at));
            document.details.insert("pause_ms".to_owned(), pause.into());
        }
        document
    });
    Ok(documents.collect())
}

/// Shows a migration to `seen` whenever it has changed, until it has ended or `seen`
/// returns false.
pub async fn watch(
    deployment: &Deployment,
    id: MigrationId,
    every: Duration,
    mut seen: impl FnMut(&api::Migration) -> bool,
) -> Result<api::Migration, AppError> {
    let mut last = None;
    loop {
        let now = show(deployment, id).await?;
        let over = Phase::parse(&now.state).is_some_and(Phase::has_ended);
        let changed = last.as_ref().is_none_or(|last| now.is_changed_from(last));
        let go_on = !changed || seen(&now);
        if over || !go_on {
            return Ok(now);
        }
        last = Some(now);
        tokio::time::sleep(every).await;
    }
}
