//! Further faults, each of which fires an alert, and is repaired, which resolves it.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rehome_api::OptionsPatch;
use rehome_monitor::wait_for;
use uuid::Uuid;

use crate::harness::{IMPORTED, Moving, REMOTE, SHARED, Which};
use crate::scene::Play;

/// More than the rules of the scene allow the target to be behind.
const BEHIND: u64 = 30;
/// Longer than the rules allow for an append; far shorter than a store's timeout.
const SLOW: Duration = Duration::from_millis(400);
/// The number of lease changes after which an alert must have fired.
const FLAPS_MAX: u32 = 8;

impl Play<'_> {
    /// The target accepts no writes for a while, and then all at once.
    pub(crate) fn target_is_slow(&self, moving: &Moving) -> Result<()> {
        let locked = self.site.lock_remote()?;
        self.site.append(moving.tenant, BEHIND)?;
        self.sees(&moving.of_tenant("dual_write_sync_lag_events", ""), BEHIND)?;
        self.fires("MigrationHighSyncLag")?;
        locked.release()?;
        self.level(moving, IMPORTED + BEHIND)?;
        self.fires("MigrationHighDualWriteLatency")
    }

    /// The source is slow for each append.
    pub(crate) fn source_is_slow(&self, moving: &Moving) -> Result<()> {
        wait_for("TenantAppendLatencyHigh to arrive", || {
            let mut writer = None;
            self.site.while_locked(SHARED, || {
                writer = Some(self.site.append_beside(moving.tenant));
                // The fault itself: writes are blocked for this time.
                thread::sleep(SLOW);
                Ok(())
            })?;
            writer.context("a writer")?.join().ok().context("it ends")??;
            Ok(self.site.receiver.fired().contains("TenantAppendLatencyHigh").then_some(()))
        })
    }

    /// Paused, and its process is started again meanwhile: nothing begins anew by that.
    pub(crate) fn is_paused_for_long(&self, moving: &Moving) -> Result<()> {
        let since = moving.of("migration_state_since_timestamp_seconds", "");
        self.site.pause(moving)?;
        self.sees(&moving.of("migration_state", ""), 7)?;
        let before = self.sees_some(&since)?;
        self.site.kill()?;
        self.sees("up", 0)?;
        self.site.serve()?;
        self.sees("up", 1)?;
        self.sees(&moving.of("migration_state", ""), 7)?;
        let after = self.sees_some(&since)?;
        ensure!((after - before).abs() < 1.0, "paused at {before}, and then at {after}");
        self.fires("MigrationPausedLong")?;
        self.site.resume(moving)?;
        self.sees(&moving.of("migration_state", ""), 2)
    }

    /// The process that reports the migration, when exactly one does.
    pub(crate) fn holder(&self, moving: &Moving) -> Result<Option<Which>> {
        let both = [Which::First, Which::Second];
        let reports = |which: &Which| {
            let series = moving.of("migration_state", &self.site.instance(*which));
            self.site.prometheus.value(&series).map(|value| value.is_some())
        };
        let reporting = [reports(&both[0])?, reports(&both[1])?];
        Ok(match reporting {
            [true, false] => Some(both[0]),
            [false, true] => Some(both[1]),
            _ => None,
        })
    }

    /// Each process in turn sleeps longer than its lease lasts, until that is noticed.
    pub(crate) fn leases_flap(&self, moving: &Moving) -> Result<()> {
        for _ in 0..FLAPS_MAX {
            let from = wait_for("one process to report it", || self.holder(moving))?;
            self.site.put_to_sleep(from)?;
            wait_for("another process to take over", || {
                Ok(self.holder(moving)?.filter(|holder| *holder != from))
            })?;
            self.site.wake(from)?;
            self.sees(&format!("up{{{}}}", self.site.instance(from)), 1)?;
            let lost = moving.of("migration_lease_lost_total", &self.site.instance(from));
            self.sees_some(&format!("{lost} > 0"))?;
            if self.site.receiver.fired().contains("MigrationLeaseFlapping") {
                break;
            }
        }
        self.fires("MigrationLeaseLost")?;
        self.fires("MigrationLeaseFlapping")
    }

    /// The only process left has a configuration without the target: it does not take the migration, reports
    /// it, and leaves it to a process that can.
    pub(crate) fn nobody_can(&self, tenant: Uuid) -> Result<Moving> {
        self.site.kill_that(Which::First)?;
        self.site.kill_that(Which::Second)?;
        self.site.serve_lacking()?;
        let lacking = self.site.begun();
        let moving = self.site.start(tenant, REMOTE, OptionsPatch::default())?;
        let of = |name: &str| moving.of(name, &self.site.instance(Which::Second));
        self.sees(&of("migration_state"), 0)?;
        self.sees(&of("migration_unattended"), 1)?;
        self.fires("MigrationUnattended")?;
        self.fires("MigrationPendingLong")?;
        let log = self.site.log(&moving)?;
        ensure!(!log.iter().any(|entry| entry.contains("lease_taken")), "not taken: {log:?}");
        let why = |line: &serde_json::Value| line.to_string().contains("is not configured");
        let said = self.site.lines(lacking)?.iter().filter(|line| why(line)).count();
        ensure!((1..=2).contains(&said), "once for each migration that it cannot do: {said}");
        self.site.serve()?;
        // For a moment the other one still reports what it saw.
        let state = moving.of("migration_state", "");
        self.sees(&format!("max by (migration_id) ({state})"), 2)?;
        self.sees_none(&format!("max by (migration_id) ({}) == 1", of("migration_unattended")))?;
        Ok(moving)
    }

    /// A command that removes a tenant is killed; another completes the removal.
    pub(crate) fn removal_is_interrupted(&self, tenant: Uuid, events: u64) -> Result<()> {
        let still = "max(tenant_removals_interrupted)";
        self.sees(still, 0)?;
        let removed = self.site.remove(tenant, events, "remove.begun=kill")?;
        ensure!(!removed, "it came to a good end");
        self.sees(still, 1)?;
        self.fires("RehomeRemovalInterrupted")?;
        ensure!(self.site.remove(tenant, events, "")?, "it was not completed");
        self.sees(still, 0)
    }

    /// A process that is started again and again.
    pub(crate) fn restarts(&self) -> Result<()> {
        let started = format!("process_start_time_seconds{{{}}}", self.site.instance(Which::First));
        for _ in 0..3 {
            let before = self.sees_some(&started)?;
            self.site.kill()?;
            self.site.serve()?;
            self.sees_some(&format!("{started} > {before}"))?;
        }
        self.fires("RehomeRestarting")
    }

    /// The server that has all these tenants, and the control plane, goes away while they write, and comes
    /// back. However many tenants there are, few notifications are sent.
    pub(crate) fn server_is_gone(&self, tenants: &[Uuid]) -> Result<()> {
        const NOTIFICATIONS_MAX: usize = 6;
        tenants.iter().try_for_each(|tenant| self.site.append(*tenant, 1))?;
        self.sees("count(append_longest_wait_seconds)", tenants.len() as u64)?;
        self.site.cluster.stop()?;
        let writers: Vec<_> =
            tenants.iter().map(|tenant| self.site.append_beside(*tenant)).collect();
        let firing =
            |alert: &str| format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
        self.sees_some(&format!("{} > 1", firing("TenantWritesBlocked")))?;
        for writer in writers {
            // Refused, in the end.
            let _ = writer.join().ok().context("a writer ends")?;
        }
        self.sees(&firing("TenantAppendsFailing"), tenants.len() as u64)?;
        for alert in ["RehomeStoreDown", "RehomeControlPlaneDown"] {
            self.sees(&firing(alert), 1)?;
            self.fires(alert)?;
        }
        let notices = self.site.receiver.notices();
        let sent = notices.last().map_or(0, |last| last.notification + 1);
        ensure!(sent <= NOTIFICATIONS_MAX, "{sent} notifications: {notices:#?}");
        let of_failing = notices.iter().filter(|n| n.name() == "TenantAppendsFailing").count();
        ensure!(of_failing == 0, "the store explains it: {notices:#?}");
        self.site.cluster.begin()?;
        self.sees(&format!("store_up{{store_id=\"{REMOTE}\"}}"), 1)?;
        self.sees("control_plane_up", 1)
    }

    /// Critical alerts go to the on-call receiver, the others do not.
    pub(crate) fn notices_went_by_their_severity(&self) -> Result<()> {
        self.site.kill()?;
        self.fires("RehomeDown")?;
        self.site.serve()?;
        self.sees("up", 1)?;
        let notices = self.site.receiver.notices();
        for notice in &notices {
            let wanted = match notice.labels.get("severity").map(String::as_str) {
                Some("critical") => "/on-call",
                _ => "/office-hours",
            };
            ensure!(notice.path == wanted, "{notice:?}");
        }
        for path in ["/on-call", "/office-hours"] {
            ensure!(notices.iter().any(|notice| notice.path == path), "nothing for {path}");
        }
        Ok(())
    }
}
