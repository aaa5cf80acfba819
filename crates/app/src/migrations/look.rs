//! How migrations look: one, many, their log.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rehome_api as api;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::ledger::Ledger;
use rehome_domain::migration::{Fact, Migration, Phase};
use rehome_engine::migration::Waiting;
use rehome_engine::{Progress, UnknownStore};
use rehome_ports::log_chain::{Followed, follows};
use rehome_ports::{ActiveLease, Beside, ControlError, LogEntry, Marks, Migrations};

use crate::deployment::Deployment;
use crate::documents::{self, Age, Ages};
use crate::error::{AppError, Kind};
use crate::store_watch::Sight;

/// Log entries read at once.
const PAGE: usize = 500;
/// Migrations described side by side.
const SIDE_BY_SIDE: usize = 32;

/// How long the histories in the two stores of a migration are, as last known.
#[derive(Clone, Debug)]
pub(crate) struct Lengths {
    pub(crate) source: Sight<u64>,
    pub(crate) target: Sight<u64>,
}

impl Lengths {
    /// The source's and the target's, whatever their age.
    pub(crate) fn both(&self) -> Option<(u64, u64)> {
        Some((*self.source.value()?, *self.target.value()?))
    }

    /// When one of the two stores answered last.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        self.source.at().max(self.target.at())
    }

    fn ages(&self) -> Ages {
        Ages { source: Age::of(&self.source), target: Age::of(&self.target) }
    }
}

fn length(ledger: Ledger) -> u64 {
    ledger.head.seq
}

impl Deployment {
    /// A migration and how far it is.
    pub async fn migration(&self, id: MigrationId) -> Result<api::Migration, AppError> {
        let migration = self.engine().control().migration(id).await?;
        self.describe(&migration).await
    }

    /// The revision of the route of the migration's tenant: what is changed under it is what was seen.
    pub async fn revision(&self, tenant: TenantId) -> Result<u64, AppError> {
        let route = self.engine().control().route(tenant).await?;
        Ok(route.ok_or(ControlError::UnknownTenant(tenant))?.rev)
    }

    /// Migrations, newest first; `before`: those that come after this one in that order.
    pub async fn migrations(
        &self,
        tenant: Option<TenantId>,
        phase: Option<Phase>,
        before: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<api::Migration>, AppError> {
        let control = self.engine().control();
        if let Some(before) = before {
            // A cursor that is not there would have nothing after it, quietly.
            control.migration(before).await?;
        }
        let which = Migrations { tenant, phase, limit, before };
        let found = control.migrations(which).await?;
        let beside = control.beside(&found, Waiting::MEMO).await?;
        // Side by side: a store that does not answer is waited for once.
        let documents = found.iter().zip(&beside);
        let documents: Vec<_> =
            documents.map(|(migration, beside)| self.describe_with(migration, beside)).collect();
        stream::iter(documents).buffered(SIDE_BY_SIDE).try_collect().await
    }

    /// The row with its numbers. The ledgers tell of the tenant's last migration only; of one that
    /// is migrated its log tells, for ever.
    pub(crate) async fn describe(&self, migration: &Migration) -> Result<api::Migration, AppError> {
        let control = self.engine().control();
        let beside = control.beside(std::slice::from_ref(migration), Waiting::MEMO).await?;
        let unknown = || ControlError::UnknownMigration(migration.id);
        self.describe_with(migration, beside.first().ok_or_else(unknown)?).await
    }

    async fn describe_with(
        &self,
        migration: &Migration,
        beside: &Beside,
    ) -> Result<api::Migration, AppError> {
        // Of what a process wrote that has died, nobody knows whether it is so still.
        let memo = beside.memo.as_ref().filter(|_| beside.lease.is_some());
        let waiting = memo.and_then(Waiting::of_memo);
        let marks = &beside.marks;
        let none = Ages::default();
        match migration.state.phase() {
            Phase::Migrated => {
                let progress = self.switched(migration, marks).await?;
                return Ok(documents::migration(migration, progress.as_ref(), none, waiting));
            }
            Phase::RolledBack if !beside.is_last => {
                return Ok(documents::migration(migration, None, none, None));
            }
            _ => {}
        }
        // A store that is no longer configured leaves its numbers unknown.
        let Ok(lengths) = self.lengths(migration, marks).await else {
            return Ok(documents::migration(migration, None, none, waiting));
        };
        let now = self.now();
        let progress = lengths.both().map(|lengths| Progress::of(migration, lengths, marks, now));
        Ok(documents::migration(migration, progress.as_ref(), lengths.ages(), waiting))
    }

    /// How long the histories in the two stores of a migration are, as far as is known. The target is
    /// asked first: what is written in between is a lag that is too large, never one too small.
    pub(crate) async fn lengths(
        &self,
        migration: &Migration,
        marks: &Marks,
    ) -> Result<Lengths, UnknownStore> {
        let watch = self.store_watch();
        let mut target = watch.ledger(&migration.target, migration.tenant).await?.map(length);
        let source = watch.ledger(&migration.source, migration.tenant).await?.map(length);
        // Of a target that this process has never seen, it is known up to where it was read back.
        let read_back = marks.read_back.filter(|mark| mark.m == migration.m);
        if let (None, Some(mark)) = (&target.last, read_back) {
            target.last = Some((mark.head.seq, marks.updated_at));
        }
        Ok(Lengths { source, target })
    }

    /// The numbers of a migration that is over, from its log.
    async fn switched(
        &self,
        migration: &Migration,
        marks: &Marks,
    ) -> Result<Option<Progress>, AppError> {
        let control = self.engine().control();
        let mut after = 0;
        let mut head = None;
        loop {
            let entries = control.log(migration.id, after, PAGE).await?;
            for entry in &entries {
                if let Fact::Switched { head: at } = &entry.fact {
                    head = Some(*at);
                }
            }
            match entries.last() {
                Some(last) if entries.len() == PAGE => after = last.index,
                _ => break,
            }
        }
        Ok(head.map(|head| Progress {
            events_copied: head.seq,
            events_total: head.seq,
            read_back_seq: marks
                .read_back
                .filter(|mark| mark.m == migration.m)
                // The last events are read back in the pause, just before the switch.
                .map_or(head.seq, |mark| mark.head.seq.max(head.seq)),
            ..Progress::default()
        }))
    }

    /// Who works on a migration by its lease, for people.
    pub async fn lease(&self, id: MigrationId) -> Result<Option<String>, AppError> {
        let lease = self.engine().control().lease_holder(id).await?;
        Ok(lease.map(|lease| lease.holder))
    }

    /// The lease of a migration, where another process holds it.
    pub async fn lease_of_another(&self, id: MigrationId) -> Result<Option<ActiveLease>, AppError> {
        let lease = self.engine().control().lease_holder(id).await?;
        Ok(lease.filter(|lease| lease.holder != self.holder()))
    }

    /// A migration's options.
    pub async fn migration_options(&self, id: MigrationId) -> Result<api::Options, AppError> {
        let migration = self.engine().control().migration(id).await?;
        Ok(crate::options::document(&migration.options))
    }

    /// All that was recorded of a migration.
    pub(crate) async fn read_log(&self, id: MigrationId) -> Result<Vec<LogEntry>, ControlError> {
        let control = self.engine().control();
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

    /// The log after entry `after`, a page of it; an entry that is not as it was recorded says so.
    pub async fn log(&self, id: MigrationId, after: u64) -> Result<Vec<api::LogEntry>, AppError> {
        self.engine().control().migration(id).await?;
        let control = self.engine().control();
        let before = match after.checked_sub(1) {
            Some(before) => {
                let found = control.log(id, before, 1).await?;
                found.first().filter(|entry| entry.index == after).map(Followed::to)
            }
            None => Some(Followed::START),
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
        // Without the entry before, its hash is not known: the next one is told to have lost it.
        let mut before =
            before.unwrap_or(Followed { index: after.saturating_sub(1), ..Followed::START });
        let told = entries.iter().map(|entry| {
            let broken = follows(before, entry).err();
            before = Followed::to(entry);
            let chain_broken = broken.map(|broken| broken.to_string());
            api::LogEntry { chain_broken, ..documents::log_entry(entry) }
        });
        Ok(told.collect())
    }

    /// Shows a migration to `seen` whenever it has changed, until it has come to its end or `seen`
    /// says no.
    pub async fn watch(
        &self,
        id: MigrationId,
        every: Duration,
        mut seen: impl FnMut(&api::Migration) -> bool,
    ) -> Result<api::Migration, AppError> {
        let mut last = None;
        loop {
            let now = self.migration(id).await?;
            let over = ["migrated", "failed", "rolled_back"].contains(&now.state.as_str());
            let changed = last.as_ref().is_none_or(|last| now.is_changed_from(last));
            let go_on = !changed || seen(&now);
            if over || !go_on {
                return Ok(now);
            }
            last = Some(now);
            tokio::time::sleep(every).await;
        }
    }
}
