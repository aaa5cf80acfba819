//! Three migrations through all that can happen to them, while the real Prometheus scrapes and the real
//! Alertmanager sends.
//!
//! ```text
//!  to remote     bulk_copy ─ server gone ─ dual_write ─ server gone ─ aborted ─ forgotten
//!  to remote     dual_write ─ cutover in vain ─ kill -9 ─ cutover ─ migrated ─ forgotten
//!  to dedicated  bulk_copy ─ an event forged in the target's file ─ failed ─ aborted ─ forgotten
//! ```
//!
//! The rules are those that we ship, on a clock that runs faster.

use anyhow::{Context as _, Result};
use rehome_monitor::{programs, wait_for};
use rehome_monitoring::{Settings, Thresholds, files};
use uuid::Uuid;

use crate::formats;
use crate::site::{DEDICATED, Moving, REMOTE, SHARED, Site};

/// Half a minute is a second.
const FASTER: u32 = 30;

#[test]
fn outages_of_the_target_are_seen_as_they_were_and_alerts_arrive() -> Result<()> {
    let must = ["MigrationBulkCopyStuck", "MigrationTargetWriteFailures", "RehomeStoreDown"];
    play(&must, &[], |play, tenant| {
        let moving = play.copies(tenant)?;
        play.copy_is_stuck(&moving)?;
        let left = play.mirrors(&moving)?;
        play.target_is_gone(&moving, left)?;
        play.is_aborted(&moving, 15)?;
        play.is_forgotten(&moving)?;
        play.says_of_the_outage(&moving)
    })
}

#[test]
fn cutovers_and_a_killed_process_are_seen_as_they_were_and_alerts_arrive() -> Result<()> {
    let must = [
        "MigrationCutoverSlow",
        "MigrationCutoverTimeout",
        "MigrationMetricsLost",
        "MigrationWritersBlocked",
        "RehomeDown",
        "RehomeMetricsAbsent",
    ];
    // A write that waits for the lock may be taken for failed.
    play(&must, &["MigrationTargetWriteFailures"], |play, tenant| {
        let moving = play.is_mirrored(tenant)?;
        play.cutover_times_out(&moving)?;
        play.process_is_killed(&moving)?;
        play.cuts_over(&moving)?;
        play.is_forgotten(&moving)?;
        play.says_of_the_cutovers(&moving)
    })
}

#[test]
fn a_forged_event_fails_the_migration_and_alerts_arrive() -> Result<()> {
    let must = ["MigrationFailed", "MigrationVerificationViolations"];
    play(&must, &[], |play, tenant| {
        let forged = play.is_forged(tenant)?;
        play.fails(&forged)?;
        play.is_aborted(&forged, 0)?;
        play.is_forgotten(&forged)?;
        play.says_of_the_failure(&forged)
    })
}

/// Plays it at a site of its own, and looks at the alerts at the end: of those that must fire and
/// those that may, all that must did, and no other one.
fn play(
    must: &[&str],
    may: &[&str],
    scene: impl FnOnce(&Play<'_>, Uuid) -> Result<()>,
) -> Result<()> {
    let tenant = Uuid::new_v4();
    let site = Site::new(&[tenant], &[("rehome.yml", rules()?)])?;
    let play = Play { site: &site };
    let all = || {
        play.nothing_yet()?;
        scene(&play, tenant)?;
        play.alerts(must, may)
    };
    all().map_err(|error: anyhow::Error| match site.keep() {
        Ok(folder) => error.context(format!("all of it is kept in {}", folder.display())),
        Err(_) => error,
    })
}

/// The rules that we ship, faster.
fn rules() -> Result<String> {
    let settings =
        Settings { thresholds: Thresholds::default().faster(FASTER), ..Settings::default() };
    let file = files(&settings).into_iter().find(|file| file.path.starts_with("rules/"));
    Ok(file.context("there are rules")?.text)
}

/// A site on which all of it is played.
pub(crate) struct Play<'a> {
    pub(crate) site: &'a Site,
}

impl Play<'_> {
    /// Waits until Prometheus has this.
    pub(crate) fn sees(&self, expression: &str, wanted: u64) -> Result<()> {
        self.site.prometheus.until(expression, wanted as f64)
    }

    pub(crate) fn sees_none(&self, expression: &str) -> Result<()> {
        self.site.prometheus.until_none(expression)
    }

    /// Waits until an expression that filters has one answer; its value.
    pub(crate) fn sees_some(&self, expression: &str) -> Result<f64> {
        wait_for(expression, || self.site.prometheus.value(expression))
    }

    pub(crate) fn fires(&self, alert: &str) -> Result<()> {
        wait_for(&format!("{alert} to arrive"), || {
            Ok(self.site.receiver.fired().contains(alert).then_some(()))
        })
    }

    fn nothing_yet(&self) -> Result<()> {
        self.sees("up", 1)?;
        self.sees("control_plane_up", 1)?;
        for store in [SHARED, DEDICATED, REMOTE] {
            self.sees(&format!("store_up{{store_id=\"{store}\"}}"), 1)?;
        }
        self.sees("count(rehome_build_info)", 1)?;
        self.sees("route_refreshes_total >= bool 0", 1)?;
        self.sees("process_resident_memory_bytes > bool 1e6", 1)?;
        self.sees_none("{migration_id!=\"\"}")?;
        self.sees_none("{__name__=~\"dual_write_.*\"}")?;
        formats::check(self.site)
    }

    /// So many events of the tenant were mirrored by this process.
    pub(crate) fn operations(&self, moving: &Moving, succeeded: u64) -> Result<()> {
        let success = moving.of_tenant("dual_write_operations_total", "status=\"success\"");
        self.sees(&success, succeeded)
    }

    /// So many appends of the tenant were acknowledged by this process.
    pub(crate) fn appended(&self, moving: &Moving, acknowledged: u64) -> Result<()> {
        let count = moving.of_tenant("append_duration_seconds_count", "outcome=\"ok\"");
        self.sees(&count, acknowledged)
    }

    /// Source and target have so many events, and all were read back.
    pub(crate) fn level(&self, moving: &Moving, events: u64) -> Result<()> {
        self.sees(&moving.of("migration_events_total", ""), events)?;
        self.sees(&moving.of("migration_events_copied_total", ""), events)?;
        self.sees(&moving.of_tenant("dual_write_sync_lag_events", ""), 0)?;
        self.sees(&moving.of("migration_read_back_lag_events", ""), 0)
    }

    /// Cutovers by how they ended, as far as this process knows.
    pub(crate) fn attempts(&self, moving: &Moving, wanted: [u64; 5]) -> Result<()> {
        let status = ["started", "succeeded", "rolled_back", "timed_out", "refused"];
        for (status, times) in status.into_iter().zip(wanted) {
            let status = format!("status=\"{status}\"");
            self.sees(&moving.of("cutover_attempts_total", &status), times)?;
        }
        Ok(())
    }
}

#[test]
fn the_rules_on_the_faster_clock_are_rules() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rehome.yml");
    std::fs::write(&file, rules()?)?;
    programs::check_rules(&file)
}
