//! All logs as lines, for another system: there, they cannot be changed from here.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rehome_api::Time;
use rehome_api::audit::{AuditDrainLine, AuditLine, AuditRecord};
use rehome_app::deployment::Deployment;
use rehome_app::key::Key;
use rehome_app::{AppError, Kind};
use rehome_domain::drain::Drain;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, MigrationId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_ports::log_chain::{BrokenChain, Followed, LogAnchor};
use rehome_ports::{ControlError, ControlPlane, DrainEntry, LogEntry, Migrations};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::anchors::{Page, Walk, compare};
use super::{Findings, drains, follow};

/// Migrations read at once; while following, this many of the newest ones are always read.
const PAGE: usize = 200;
/// The polling interval of migrations that have not ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The polling interval of all migrations: old ones are acknowledged, purged or verified now and then.
const ALL_EVERY: Duration = Duration::from_secs(60);
/// A time that is so much ahead of the control plane's clock is no recorded one.
const AHEAD_MAX_US: i64 = 60_000_000;
/// How long a store may take to list some of its anchors.
const STORE_WITHIN: Duration = Duration::from_secs(2);

/// What to export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditExport {
    /// Only entries recorded after this time, by the recorders' clocks.
    pub after: Option<Time>,
    /// Whether to follow new entries.
    pub follow: bool,
}

/// The result of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines.
    pub lines: u64,
    /// The first log that is not as it was recorded, as a sentence.
    pub broken: Option<String>,
}

/// Hands every entry of every log to `write`, a log's in their order, older migrations' first; with
/// `follow`, until `stop` or until `write` fails. With a key, lines are signed by it. What places outside of the logs
/// have seen and is not there any more has a line too.
pub(crate) async fn export(
    deployment: &Deployment,
    findings: &Findings,
    key: Option<Key>,
    what: AuditExport,
    stop: &CancellationToken,
    mut write: impl FnMut(&AuditRecord) -> Result<(), AppError>,
) -> Result<Exported, AppError> {
    let control = &**deployment.engine().control();
    if let Some(Time(after)) = what.after
        && after.saturating_sub(control.now().await?.micros()) > AHEAD_MAX_US
    {
        let why = "that time is in the future by the control plane's clock; what is recorded until then would be \
                   skipped";
        return Err(AppError::new(Kind::Usage, "bad_usage", format!("--after: {why}")));
    }
    let mut exporter = Exporter {
        what,
        key,
        at: HashMap::new(),
        drains: HashMap::new(),
        missed: HashSet::new(),
        told: Exported::default(),
    };
    let mut all_seen: Option<Instant> = None;
    loop {
        let only_some = all_seen.is_some_and(|seen| seen.elapsed() < ALL_EVERY);
        let some = if only_some {
            going_on(control).await?
        } else {
            all_seen = Some(Instant::now());
            let every = Migrations { limit: PAGE, ..Migrations::default() };
            all(control, every).await?
        };
        for migration in &some {
            let broken = exporter.log(control, migration, &mut write).await?;
            if broken.is_some() {
                findings.looked_at(migration.id, migration.tenant, broken);
            }
        }
        for drain in drains::oldest_first(&**deployment.fleet(), only_some).await? {
            exporter.drain(deployment, &drain, &mut write).await?;
        }
        if !only_some {
            exporter.anchors(deployment, findings, &mut write).await?;
        }
        if !what.follow {
            return Ok(exporter.told);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(exporter.told),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

struct Exporter {
    what: AuditExport,
    key: Option<Key>,
    /// How far each log was exported.
    at: HashMap<MigrationId, (TenantId, Followed)>,
    /// The same of drains; `None`: the rest of the log is not as it was recorded, and has its line.
    drains: HashMap<DrainId, Option<Followed>>,
    /// What was missed, and has a line.
    missed: HashSet<(MigrationId, String)>,
    told: Exported,
}

impl Exporter {
    /// The new entries of one log.
    async fn log(
        &mut self,
        control: &dyn ControlPlane,
        migration: &Migration,
        write: &mut impl FnMut(&AuditRecord) -> Result<(), AppError>,
    ) -> Result<Option<BrokenChain>, AppError> {
        let id = migration.id;
        let from = self.at.get(&id).map_or(Followed::START, |(_, at)| *at);
        let (mut at, mut written) = (from, Ok(()));
        let whole = follow(control, id, from, |before, entry, broken| {
            if self.what.after.is_none_or(|after| entry.at.micros() > after.0) {
                let line = self.line(migration, before, entry, broken);
                written = write(&AuditRecord::Migration(line));
                self.told.lines += u64::from(written.is_ok());
            }
            at = Followed::to(entry);
            written.is_ok()
        })
        .await?;
        self.at.insert(id, (migration.tenant, at));
        written?;
        if let Some(broken) = &whole.broken {
            self.told.broken.get_or_insert_with(|| format!("migration {id}: {broken}"));
        }
        Ok(whole.broken)
    }

    /// A line for each log that is not the one that a place outside of it, or this export, has seen.
    async fn anchors(
        &mut self,
        deployment: &Deployment,
        findings: &Findings,
        write: &mut impl FnMut(&AuditRecord) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        let own = |(id, (tenant, seen)): (&MigrationId, &(TenantId, Followed))| {
            let anchor = LogAnchor { tenant: *tenant, migration: *id, seen: *seen };
            ("this export".to_owned(), anchor)
        };
        let own: Vec<_> = self.at.iter().filter(|_| self.what.follow).map(own).collect();
        let mut page = Some(Page::Anchors(own));
        let mut walk = Walk::default();
        while let Some(read) = page {
            if let Page::Anchors(anchors) = read {
                for (place, anchor) in anchors {
                    let control = &**deployment.engine().control();
                    let broken = compare(control, &place, &anchor).await?;
                    findings.compared(anchor.migration, &place, broken.clone());
                    if let Some(broken) = broken {
                        self.missed(&place, &anchor, &broken, deployment.now(), write)?;
                    }
                }
            }
            page = walk.next(deployment, STORE_WITHIN).await?;
        }
        Ok(())
    }

    fn missed(
        &mut self,
        place: &str,
        anchor: &LogAnchor,
        broken: &BrokenChain,
        now: Timestamp,
        write: &mut impl FnMut(&AuditRecord) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        let id = anchor.migration;
        if !self.missed.insert((id, place.to_owned())) {
            return Ok(());
        }
        self.told.broken.get_or_insert_with(|| format!("migration {id}: {broken}"));
        let nobody = String::new;
        write(&AuditRecord::Migration(AuditLine {
            migration_id: id.uuid(),
            tenant_id: anchor.tenant.uuid(),
            source_store: nobody(),
            target_store: nobody(),
            index: anchor.seen.index,
            at: Time(now.micros()),
            event: "anchor".to_owned(),
            actor: place.to_owned(),
            fact: nobody(),
            previous_hash: Followed::START.hash.to_string(),
            hash: anchor.seen.hash.to_string(),
            chain_broken: Some(broken.to_string()),
            signature: self.signature(id.as_bytes(), anchor.seen),
        }))
    }

    /// The new entries of a drain's log, to the first one that is not as it was recorded.
    async fn drain(
        &mut self,
        deployment: &Deployment,
        row: &Drain,
        write: &mut impl FnMut(&AuditRecord) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        let from = *self.drains.entry(row.id).or_insert(Some(Followed::START));
        let Some(mut at) = from else { return Ok(()) };
        let mut written = Ok(());
        let broken = drains::follow(&**deployment.fleet(), row, &mut at, |before, entry| {
            if self.what.after.is_none_or(|after| entry.at.micros() > after.0) {
                written = write(&AuditRecord::Drain(self.drain_line(row, before, entry)));
                self.told.lines += u64::from(written.is_ok());
            }
            written.is_ok()
        })
        .await?;
        written?;
        self.drains.insert(row.id, broken.is_none().then_some(at));
        let Some(broken) = broken else { return Ok(()) };
        self.told.broken.get_or_insert_with(|| format!("drain {}: {broken}", row.id));
        let seen = Followed { index: broken.index, ..Followed::START };
        write(&AuditRecord::Drain(AuditDrainLine {
            drain_id: row.id.uuid(),
            index: seen.index,
            at: Time(deployment.now().micros()),
            event: "anchor".to_owned(),
            actor: "the row of the drain".to_owned(),
            fact: String::new(),
            previous_hash: at.hash.to_string(),
            hash: seen.hash.to_string(),
            chain_broken: Some(broken.to_string()),
            signature: self.signature(row.id.as_bytes(), seen),
        }))
    }

    fn drain_line(&self, row: &Drain, before: Followed, entry: &DrainEntry) -> AuditDrainLine {
        let seen = Followed { index: entry.index, hash: entry.hash };
        AuditDrainLine {
            drain_id: row.id.uuid(),
            index: entry.index,
            at: Time(entry.at.micros()),
            event: entry.fact.name().to_owned(),
            actor: entry.actor.clone(),
            fact: entry.text.clone(),
            previous_hash: before.hash.to_string(),
            hash: entry.hash.to_string(),
            chain_broken: None,
            signature: self.signature(row.id.as_bytes(), seen),
        }
    }

    fn signature(&self, id: &[u8], seen: Followed) -> Option<String> {
        let sign = |key: &Key| key.sign(&[id, &seen.index.to_be_bytes(), seen.hash.as_bytes()]);
        self.key.as_ref().map(sign)
    }

    fn line(
        &self,
        migration: &Migration,
        before: Followed,
        entry: &LogEntry,
        broken: Option<&BrokenChain>,
    ) -> AuditLine {
        AuditLine {
            migration_id: migration.id.uuid(),
            tenant_id: migration.tenant.uuid(),
            source_store: migration.source.to_string(),
            target_store: migration.target.to_string(),
            index: entry.index,
            at: Time(entry.at.micros()),
            event: entry.fact.name().to_owned(),
            actor: entry.actor.clone(),
            fact: entry.text.clone(),
            previous_hash: before.hash.to_string(),
            hash: entry.hash.to_string(),
            chain_broken: broken.map(ToString::to_string),
            signature: self.signature(migration.id.as_bytes(), Followed::to(entry)),
        }
    }
}

/// The migrations that have not ended, and the newest.
async fn going_on(control: &dyn ControlPlane) -> Result<Vec<Migration>, ControlError> {
    let newest = Migrations { limit: PAGE, ..Migrations::default() };
    let mut found = control.migrations(newest).await?;
    found.reverse();
    let mut known: HashSet<_> = found.iter().map(|migration| migration.id).collect();
    for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()) {
        let which = Migrations { phase: Some(phase), ..newest };
        found.extend(all(control, which).await?.into_iter().filter(|one| known.insert(one.id)));
    }
    Ok(found)
}

/// The oldest first.
async fn all(
    control: &dyn ControlPlane,
    mut which: Migrations,
) -> Result<Vec<Migration>, ControlError> {
    let mut found = Vec::new();
    loop {
        let page = control.migrations(which).await?;
        let over = page.len() < PAGE;
        which.before = page.last().map(|migration| migration.id);
        found.extend(page);
        if over {
            found.reverse();
            return Ok(found);
        }
    }
}
