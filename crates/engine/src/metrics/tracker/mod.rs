//! What one process has seen of each migration: folded from signals, forgotten after the retention.

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Fact, Migration, Phase};

use super::ended::{self, Fate};
use super::families::MIRROR_BUCKETS;
use super::{Reached, Sighting};
use crate::histogram::Histogram;
use crate::signal::{Signal, Way};

pub(super) use entry::{Attempt, Entry, LEVELS, Reporter, VIOLATION_TYPES};

/// The dual write of one tenant.
#[derive(Clone, Debug)]
pub(super) struct DualWrite {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) latency: Histogram,
}

/// All that this process has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracker {
    entries: BTreeMap<MigrationId, Entry>,
    dual_writes: BTreeMap<TenantId, DualWrite>,
    /// The migrations at work that have no series, because there are too many.
    crowded_out: BTreeSet<MigrationId>,
    /// When this process last listed the migrations.
    pub(super) looked: Option<Timestamp>,
}

impl Tracker {
    /// Those that have series.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.known().filter(|entry| !self.crowded_out.contains(&entry.migration.id))
    }

    fn known(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !entry.is_past)
    }

    /// How many migrations at work have no series.
    pub(super) fn crowded_out(&self) -> usize {
        self.crowded_out.len()
    }

    /// The open rollback windows, however long ago their migrations ended: those that are furthest behind.
    pub(super) fn windows(&self) -> Vec<(&Entry, u64)> {
        let lag = |entry: &'_ Entry| entry.window_lag;
        let mut windows: Vec<_> =
            self.entries.values().filter_map(|entry| Some((entry, lag(entry)?))).collect();
        if windows.len() > ended::WINDOWS_MAX {
            windows.sort_by_key(|(entry, lag)| (std::cmp::Reverse(*lag), entry.migration.id));
            windows.truncate(ended::WINDOWS_MAX);
        }
        windows
    }

    pub(super) fn dual_writes(&self) -> impl Iterator<Item = (TenantId, &DualWrite)> {
        let shown: BTreeSet<_> = self.entries().map(|entry| entry.migration.tenant).collect();
        let all = self.dual_writes.iter();
        all.filter(move |(tenant, _)| shown.contains(tenant)).map(|(tenant, one)| (*tenant, one))
    }

    /// Removes migrations that ended more than `retention` ago.
    pub(super) fn forget(&mut self, now: Timestamp, retention: Duration) {
        self.entries.retain(|_, entry| {
            entry.forget_old_numbers(now);
            entry.is_past = entry.is_expired(now, retention);
            !entry.is_past || entry.keeps_window()
        });
        let fates = ended::fates(self.known(), now);
        self.entries.retain(|id, entry| {
            let fate = fates.get(id);
            entry.is_brief = fate == Some(&Fate::Brief);
            entry.is_past |= fate == Some(&Fate::Gone);
            !entry.is_past || entry.keeps_window()
        });
        self.crowded_out = ended::crowded_out(self.known());
        let reported: BTreeMap<_, _> =
            self.known().map(|entry| (entry.migration.tenant, entry.is_brief)).collect();
        self.dual_writes.retain(|tenant, work| {
            reported.get(tenant).is_some_and(|is_brief| !is_brief || work.failed > 0)
        });
    }

    pub(super) fn hear(&mut self, signal: &Signal<'_>, now: Timestamp, retention: Duration) {
        match signal {
            Signal::Taken { migration, log, taken_over } => {
                self.entry(migration, now).taken(migration, log, *taken_over, now);
                if migration.state.phase() == Phase::DualWrite {
                    self.dual_write(migration.tenant);
                }
            }
            Signal::Seen { migration } => {
                // After its end a driver may keep a window open for days.
                if self.entries.contains_key(&migration.id) {
                    self.entry(migration, now).update(migration, now);
                }
            }
            Signal::Unattended { migration } => {
                let entry = self.entry(migration, now);
                entry.reporter = Reporter::Anyone;
                entry.update(migration, now);
                if entry.is_expired(now, retention) {
                    self.entries.remove(&migration.id);
                }
            }
            Signal::Looked => {
                self.looked = Some(now);
                // Also without a scrape.
                self.forget(now, retention);
            }
            Signal::Logged { migration, log } => {
                if let Some(entry) = self.entries.get_mut(&migration.id) {
                    entry.logged(migration, log);
                }
            }
            Signal::Elsewhere { migration } => {
                if let Some(entry) = self.entries.get_mut(&migration.id) {
                    entry.is_elsewhere(migration);
                }
            }
            Signal::Left { migration, lost_to } => {
                let entry = self.entry(migration, now);
                entry.left(lost_to.is_some());
            }
            Signal::Recorded { migration, fact, at, .. } => {
                self.recorded(migration, fact, *at, now);
            }
            Signal::Retrying { migration, .. } => {
                if let Some(entry) = self.entries.get_mut(migration) {
                    entry.retries += 1;
                }
            }
            Signal::Progress { migration, way, source_seq, target_seq, read_back_seq } => {
                let reached = Reached { source_seq: *source_seq, target_seq: *target_seq, at: now };
                match way {
                    Way::There => {
                        self.entry(migration, now).get_to(reached, *read_back_seq, now);
                    }
                    Way::Back => self.entry(migration, now).window_lag = Some(reached.lag()),
                }
            }
            Signal::Head { migration, heads } => match heads.way {
                Way::There => self.entry(migration, now).learn(heads),
                Way::Back => {
                    let lag = heads.target_seq.map(|seq| heads.source_seq.saturating_sub(seq));
                    let entry = self.entry(migration, now);
                    entry.window_lag = lag.or(entry.window_lag);
                }
            },
            Signal::Copied { migration, bytes, waited, .. } => {
                let entry = self.entry(migration, now);
                entry.bytes += bytes;
                entry.throttled += *waited;
            }
            Signal::Braked { migration, braked, took } => {
                self.entry(migration, now).braked(*braked, *took);
            }
            Signal::Mirrored { migration, way: Way::There, written, took, .. } => {
                let dual_write = self.dual_write(migration.tenant);
                dual_write.succeeded += written;
                dual_write.latency.observe_many(*took, *written);
            }
            Signal::MirrorFailed { migration, way: Way::There, written, .. } => {
                self.dual_write(migration.tenant).failed += written;
            }
            Signal::Mirrored { .. } | Signal::MirrorFailed { .. } | Signal::Stopped { .. } => {}
            Signal::Cutover { migration, part, took, .. } => {
                self.entry(migration, now).cutover(*part, *took);
            }
            Signal::Verified { migration, report, took } => {
                self.entry(migration, now).verified(report, *took);
            }
            Signal::Violated { migration, violation } => {
                self.entry(migration, now).violated(violation.kind, 1);
            }
        }
    }

    /// See [`super::Metrics::sighted`].
    pub(super) fn sighted(&mut self, sighting: &Sighting<'_>, now: Timestamp) {
        let driven = |entry: &Entry| entry.reporter == Reporter::Here;
        if !self.entries.get(&sighting.migration.id).is_some_and(driven) {
            self.entry(sighting.migration, now).sighted(sighting, now);
        }
    }

    /// See [`super::Metrics::driven_by_another_server`].
    pub(super) fn unsighted(&mut self, id: MigrationId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.reporter != Reporter::Here
        {
            entry.is_unsighted();
        }
    }

    fn recorded(&mut self, migration: &Migration, fact: &Fact, at: Timestamp, now: Timestamp) {
        let entry = self.entry(migration, now);
        entry.update(migration, now);
        entry.recorded(fact, at);
        if migration.state.phase() == Phase::DualWrite {
            self.dual_write(migration.tenant);
        }
    }

    fn entry(&mut self, migration: &Migration, now: Timestamp) -> &mut Entry {
        let entry = self.entries.entry(migration.id).or_insert_with(|| Entry::new(migration, now));
        entry.touched = now;
        entry
    }

    fn dual_write(&mut self, tenant: TenantId) -> &mut DualWrite {
        self.dual_writes.entry(tenant).or_insert_with(|| DualWrite {
            succeeded: 0,
            failed: 0,
            latency: Histogram::new(MIRROR_BUCKETS),
        })
    }
}
