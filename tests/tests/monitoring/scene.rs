//! Migrations through all faults, while the real Prometheus scrapes and the real
//! Alertmanager sends.
//!
//! ```text
//!  to remote     bulk_copy ─ server gone ─ dual_write ─ server gone ─ aborted ─ forgotten
//!  to remote     dual_write ─ cutover in vain ─ kill -9 ─ cutover ─ migrated ─ forgotten
//!  to dedicated  bulk_copy ─ an event forged in the target's file ─ failed ─ kill -9 ─ aborted ─ forgotten
//!  to remote     dual_write ─ a slow target ─ a slow source ─ paused ─ kill -9 ─ resumed
//!  to remote     two processes in turn ─ one that lacks the store ─ a removal cut off ─ one that restarts
//!  to remote     a drain: its window missed ─ stalled ─ its budget spent ─ finished ─ forgotten
//!  at remote     the server of a dozen tenants and of the control plane gone
//!  to all        at once ─ taken over and restarted ─ forged: what the panels show
//! ```
//!
//! The rules are the shipped ones, on a faster clock.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use rehome_api::OptionsPatch;
use rehome_dashboards::{Settings, Thresholds, files, groups};
use rehome_monitor::{programs, wait_for};
use uuid::Uuid;

use crate::formats;
use crate::harness::{DEDICATED, EVERY_MS, IMPORTED, Moving, REMOTE, SHARED, Site, Wanted, Which};

/// Half a minute is a second.
const FASTER: u32 = 30;

/// Which alerts fire.
struct Alerts {
    /// Those that must.
    must: &'static [&'static str],
    /// And those that may, on a slow machine or by the way.
    may: &'static [&'static str],
}

const OUTAGES: Alerts = Alerts {
    must: &["MigrationBulkCopyStuck", "MigrationTargetWriteFailures", "RehomeStoreDown"],
    may: &[],
};
const CUTOVERS: Alerts = Alerts {
    must: &[
        "MigrationCutoverSlow",
        "MigrationCutoverTimeout",
        "MigrationMetricsLost",
        "MigrationUnpublished",
        "MigrationWritersBlocked",
        "RehomeDown",
        "RehomeMetricsAbsent",
        "TenantWritesBlocked",
    ],
    // A write that waits for the lock may count as failed.
    may: &["MigrationTargetWriteFailures"],
};
const FORGERY: Alerts = Alerts {
    must: &["MigrationFailed", "MigrationVerificationViolations", "RehomeStoreDamaged"],
    may: &["RehomeDown", "RehomeMetricsAbsent"],
};
const SLOWNESS: Alerts = Alerts {
    must: &[
        "MigrationHighDualWriteLatency",
        "MigrationHighSyncLag",
        "MigrationPausedLong",
        "TenantAppendLatencyHigh",
    ],
    may: &[
        "MigrationMetricsLost",
        "MigrationTargetWriteFailures",
        "RehomeDown",
        "RehomeMetricsAbsent",
        "TenantWritesBlocked",
    ],
};
const LEASES: Alerts = Alerts {
    must: &[
        "MigrationLeaseFlapping",
        "MigrationLeaseLost",
        "MigrationPendingLong",
        "MigrationUnattended",
        "RehomeRemovalInterrupted",
        "RehomeRestarting",
    ],
    may: &[
        "MigrationMetricsLost",
        "MigrationTargetWriteFailures",
        "RehomeDown",
        "RehomeMetricsAbsent",
    ],
};
const DRAINING: Alerts = Alerts {
    must: &["RehomeDrainBudgetSpent", "RehomeDrainStalled", "RehomeDrainWindowMissed"],
    may: &["MigrationTargetWriteFailures", "RehomeStoreDown"],
};
/// Here Alertmanager holds back what others explain: these fire, and not all arrive.
const GONE: Alerts = Alerts {
    must: &[
        "RehomeControlPlaneDown",
        "RehomeDown",
        "RehomeStoreDown",
        "TenantAppendsFailing",
        "TenantWritesBlocked",
    ],
    may: &["RehomeMetricsAbsent", "TenantAppendLatencyHigh"],
};

#[test]
fn every_alert_that_is_shipped_fires_and_ends_in_a_scene() {
    let scenes = [OUTAGES, CUTOVERS, FORGERY, SLOWNESS, LEASES, DRAINING, GONE];
    let fires: BTreeSet<_> = scenes.iter().flat_map(|scene| scene.must).copied().collect();
    let shipped = groups(&Settings::default()).into_iter().flat_map(|group| group.alerts);
    let shipped: BTreeSet<_> = shipped.map(|alert| alert.name).collect();
    assert_eq!(fires, shipped);
}

#[test]
fn outages_of_the_target_are_seen_as_they_were_and_alerts_arrive() -> Result<()> {
    let site = Site::new(&wanted(&[(TENANT, IMPORTED, SHARED)], &rules(&[])?))?;
    play(site, |play| {
        play.nothing_yet()?;
        let moving = play.copies(TENANT)?;
        play.copy_is_stuck(&moving)?;
        let left = play.mirrors(&moving)?;
        play.target_is_gone(&moving, left)?;
        play.is_aborted(&moving, 15)?;
        play.is_forgotten(&moving)?;
        play.says_of_the_outage(&moving)?;
        play.alerts(OUTAGES.must, OUTAGES.may)
    })
}

#[test]
fn cutovers_and_a_killed_process_are_seen_as_they_were_and_alerts_arrive() -> Result<()> {
    let rules = rules(&[("write_wait", "1s")])?;
    let site = Site::new(&wanted(&[(TENANT, IMPORTED, SHARED)], &rules))?;
    play(site, |play| {
        play.nothing_yet()?;
        let moving = play.is_mirrored(TENANT)?;
        play.cutover_times_out(&moving)?;
        play.process_is_killed(&moving)?;
        play.cuts_over(&moving)?;
        play.is_forgotten(&moving)?;
        play.says_of_the_cutovers(&moving)?;
        play.alerts(CUTOVERS.must, CUTOVERS.may)
    })
}

#[test]
fn a_forged_event_fails_the_migration_and_alerts_arrive() -> Result<()> {
    let rules = rules(&[("silent_for", "10s")])?;
    let site = Site::new(&wanted(&[(TENANT, IMPORTED, SHARED)], &rules))?;
    play(site, |play| {
        play.nothing_yet()?;
        let forged = play.is_forged(TENANT)?;
        play.fails(&forged)?;
        play.store_is_damaged()?;
        play.stays_failed_over_a_restart(&forged)?;
        play.is_aborted(&forged, 0)?;
        play.store_is_mended()?;
        play.is_forgotten(&forged)?;
        play.says_of_the_failure(&forged)?;
        play.alerts(FORGERY.must, FORGERY.may)
    })
}

#[test]
fn slow_stores_and_a_long_pause_are_reported_and_end() -> Result<()> {
    let rules = rules(&[
        ("sync_lag_events", "20"),
        ("sync_lag_for", "1s"),
        ("dual_write_latency_for", "1s"),
        ("append_latency_for", "1s"),
        ("paused_for", "6s"),
        ("silent_for", "5s"),
        ("reported_for", "10s"),
    ])?;
    let site = Site::new(&wanted(&[(TENANT, IMPORTED, SHARED)], &rules))?;
    play(site, |play| {
        play.nothing_yet()?;
        let moving = play.is_mirrored(TENANT)?;
        play.target_is_slow(&moving)?;
        play.source_is_slow(&moving)?;
        play.is_paused_for_long(&moving)?;
        play.alerts(SLOWNESS.must, SLOWNESS.may)
    })
}

#[test]
fn leases_that_are_lost_and_work_that_nobody_can_do_are_reported_and_end() -> Result<()> {
    let rules = rules(&[
        ("pending_for", "2s"),
        ("unattended_for", "2s"),
        ("silent_for", "5s"),
        ("reported_for", "40s"),
    ])?;
    let removed = Uuid::from_u128(9);
    let histories =
        [(TENANT, IMPORTED, SHARED), (OTHER, IMPORTED, SHARED), (removed, IMPORTED, SHARED)];
    let site = Site::new(&Wanted { has_second: true, ..wanted(&histories, &rules) })?;
    play(site, |play| {
        play.site.serve_that(Which::Second)?;
        let moving = play.site.start(TENANT, REMOTE, OptionsPatch::default())?;
        play.site.wait_for_state(&moving, "dual_write")?;
        play.leases_flap(&moving)?;
        play.nobody_can(OTHER)?;
        play.removal_is_interrupted(removed, IMPORTED)?;
        play.restarts()?;
        play.alerts(LEASES.must, LEASES.may)
    })
}

#[test]
fn a_drain_that_misses_its_window_stalls_and_spends_its_budget_is_reported_and_ends() -> Result<()>
{
    let rules = rules(&[("drain_stalled", "10s"), ("silent_for", "5s")])?;
    let histories = [(TENANT, IMPORTED, SHARED)];
    play(Site::new(&wanted(&histories, &rules))?, |play| {
        play.nothing_yet()?;
        let drain = play.drains(TENANT)?;
        play.window_is_missed(drain)?;
        play.drain_is_stalled(drain)?;
        play.budget_is_spent(drain)?;
        play.drain_ends(drain)?;
        play.alerts(DRAINING.must, DRAINING.may)
    })
}

#[test]
fn a_server_that_is_gone_is_one_matter_however_many_tenants_it_has() -> Result<()> {
    let tenants: Vec<_> = (1..=12).map(Uuid::from_u128).collect();
    let histories: Vec<_> = tenants.iter().map(|tenant| (*tenant, 1, REMOTE)).collect();
    let rules = rules(&[("write_wait", "1s"), ("silent_for", "5s")])?;
    let shipped = files(&Settings::default());
    let shipped = shipped.iter().find(|file| file.path == "alertmanager.yml");
    // As shipped, on a faster clock.
    let settings = [
        ("wait: 5s", "wait: 1s"),
        ("wait: 2m", "wait: 5s"),
        ("interval: 5m", "interval: 2s"),
        ("interval: 1m", "interval: 2s"),
    ]
    .iter()
    .fold(shipped.context("it is shipped")?.text.clone(), |text, (from, to)| {
        text.replace(from, to)
    });
    let site = Site::new(&Wanted {
        control_on_server: true,
        alertmanager: Some((&settings, "127.0.0.1:9099")),
        ..wanted(&histories, &rules)
    })?;
    play(site, |play| {
        play.nothing_yet()?;
        play.server_is_gone(&tenants)?;
        play.notices_went_by_their_severity()?;
        play.fired_and_ended(GONE.must, GONE.may)
    })
}

#[test]
fn panels_show_what_is_so_however_short_it_was_and_whoever_did_it() -> Result<()> {
    let histories = [1, 2, 3].map(|n| (Uuid::from_u128(n), IMPORTED, SHARED));
    let rules = rules(&[])?;
    // A migration of 600 events is over long before the next scrape.
    let rarely = Wanted { every_ms: 2_500, has_second: true, ..wanted(&histories, &rules) };
    play(Site::new(&rarely)?, |play| {
        play.site.serve_that(Which::Second)?;
        play.moves_at_once(histories[0].0)?;
        let left = play.is_taken_over_and_restarted(histories[1].0)?;
        let forged = play.is_seen_to_be_forged(left, histories[2].0)?;
        play.is_acknowledged(&forged)
    })
}

/// Whose history moves.
const TENANT: Uuid = Uuid::from_u128(0x7e_0001);
/// Whose does later.
const OTHER: Uuid = Uuid::from_u128(0x7e_0002);

fn wanted<'a>(histories: &'a [(Uuid, u64, &'a str)], rules: &'a [(&'a str, String)]) -> Wanted<'a> {
    Wanted {
        histories,
        rules,
        alertmanager: None,
        every_ms: EVERY_MS,
        has_second: false,
        control_on_server: false,
    }
}

/// Runs it, and keeps everything after a failure.
fn play(site: Site, scene: impl FnOnce(&Play<'_>) -> Result<()>) -> Result<()> {
    let played = scene(&Play { site: &site });
    played.map_err(|error: anyhow::Error| match site.keep() {
        Ok(folder) => error.context(format!("all of it is kept in {}", folder.display())),
        Err(_) => error,
    })
}

/// The rules that we ship, faster, and with these thresholds.
fn rules(thresholds: &[(&str, &str)]) -> Result<[(&'static str, String); 1]> {
    let mut faster = Thresholds::default().faster(FASTER);
    for (name, value) in thresholds {
        faster.set(name, value)?;
    }
    let settings = Settings { thresholds: faster, ..Settings::default() };
    let file = files(&settings).into_iter().find(|file| file.path.starts_with("rules/"));
    Ok([("rehome.yml", file.context("there are rules")?.text)])
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
    std::fs::write(&file, &rules(&[])?[0].1)?;
    programs::check_rules(&file)
}
