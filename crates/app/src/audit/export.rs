//! All logs as lines, for another system that keeps them: once there, nobody can take them back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rehome_api::Time;
use rehome_api::audit::AuditLine;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Migration, Phase};
use rehome_ports::log_chain::{BrokenChain, Followed};
use rehome_ports::{ControlError, ControlPlane, LogEntry, Migrations};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::follow;
use crate::deployment::Deployment;
use crate::error::AppError;
use crate::key::Key;

/// Migrations read at once; while following, the newest so many are always looked at.
const PAGE: usize = 200;
/// How often what goes on is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often all is looked at: what is long over is acknowledged, purged or verified now and then.
const ALL_EVERY: Duration = Duration::from_secs(60);

/// What to export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditExport {
    /// Only what was recorded after this time, by the recorders' clocks.
    pub after: Option<Time>,
    /// Whether to go on with what is recorded from now on.
    pub follow: bool,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines.
    pub lines: u64,
    /// The first log that is not as it was recorded, as a sentence.
    pub broken: Option<String>,
}

impl Deployment {
    /// Hands every entry of every log to `write`, a log's in their order, older migrations' first; with
    /// `follow`, until `stop` or until `write` fails.
    pub async fn export_audit(
        &self,
        what: AuditExport,
        stop: &CancellationToken,
        mut write: impl FnMut(&AuditLine) -> Result<(), AppError>,
    ) -> Result<Exported, AppError> {
        let key = self.config().audit_key.as_deref();
        let key = key.map(|file| Key::read("audit.key_file", file)).transpose()?;
        let control = self.engine().control();
        let mut exporter = Exporter { what, key, at: HashMap::new(), told: Exported::default() };
        let mut all_seen: Option<Instant> = None;
        loop {
            let some = if all_seen.is_some_and(|seen| seen.elapsed() < ALL_EVERY) {
                going_on(&**control).await?
            } else {
                all_seen = Some(Instant::now());
                let every = Migrations { limit: PAGE, ..Migrations::default() };
                all(&**control, every).await?
            };
            for migration in &some {
                let broken = exporter.log(&**control, migration, &mut write).await?;
                if broken.is_some() {
                    self.findings().looked_at(migration.id, migration.tenant, broken);
                }
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
}

struct Exporter {
    what: AuditExport,
    key: Option<Key>,
    /// How far each log was exported.
    at: HashMap<MigrationId, Followed>,
    told: Exported,
}

impl Exporter {
    /// What is new in one log.
    async fn log(
        &mut self,
        control: &dyn ControlPlane,
        migration: &Migration,
        write: &mut impl FnMut(&AuditLine) -> Result<(), AppError>,
    ) -> Result<Option<BrokenChain>, AppError> {
        let id = migration.id;
        let from = self.at.get(&id).copied().unwrap_or(Followed::START);
        let (mut at, mut written) = (from, Ok(()));
        let whole = follow(control, id, from, |before, entry, broken| {
            if self.what.after.is_none_or(|after| entry.at.micros() > after.0) {
                written = write(&self.line(migration, before, entry, broken));
                self.told.lines += u64::from(written.is_ok());
            }
            at = Followed::to(entry);
            written.is_ok()
        })
        .await?;
        self.at.insert(id, at);
        written?;
        if let Some(broken) = &whole.broken {
            self.told.broken.get_or_insert_with(|| format!("migration {id}: {broken}"));
        }
        Ok(whole.broken)
    }

    fn line(
        &self,
        migration: &Migration,
        before: Followed,
        entry: &LogEntry,
        broken: Option<&BrokenChain>,
    ) -> AuditLine {
        let sign = |key: &Key| {
            let (id, index) = (migration.id, entry.index.to_be_bytes());
            key.sign(&[id.as_bytes(), &index, entry.hash.as_bytes()])
        };
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
            signature: self.key.as_ref().map(sign),
        }
    }
}

/// What is not over, and the newest.
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
