//! What happens to the migrations of the scenes, and what every metric is at each step.

use anyhow::{Context as _, Result, ensure};
use rehome_api::OptionsPatch;
use rehome_engine::Slowed;
use uuid::Uuid;

use crate::formats;
use crate::harness::{DEDICATED, IMPORTED, LAG_MAX, Moving, REMOTE, SHARED};
use crate::scene::Play;

/// Those to the server.
impl Play<'_> {
    /// bulk_copy, slow enough not to finish during the test.
    pub(crate) fn copies(&self, tenant: Uuid) -> Result<Moving> {
        let slowly = OptionsPatch { copy_rate_max: Some(5), ..OptionsPatch::default() };
        let moving = self.site.start(tenant, REMOTE, slowly)?;
        let of = |name: &str| moving.of(name, "");
        self.sees(&of("migration_state"), 1)?;
        let ways = format!("source_store=\"{SHARED}\",target_store=\"{REMOTE}\"");
        self.sees(&moving.of("migration_info", &ways), 1)?;
        self.sees(&of("migration_events_total"), IMPORTED)?;
        self.sees(&moving.of_tenant("migration_state", ""), 1)?;
        let copied = of("migration_events_copied_total");
        self.sees_some(&format!("{copied} > 0 < {IMPORTED}"))?;
        let percent = of("migration_progress_percent");
        self.sees(&format!("abs({percent} - 100 * {copied} / {IMPORTED}) < bool 1e-9"), 1)?;
        self.sees_some(&format!("{} > 0", of("migration_bytes_copied_total")))?;
        self.sees_some(&format!("{} > 0", of("migration_throttle_wait_seconds_total")))?;
        self.sees_some(&format!("{} >= 5 <= 100", of("migration_throttle_percent")))?;
        for reason in Slowed::ALL {
            let label = format!("reason=\"{}\"", reason.as_str());
            self.sees_some(&format!(
                "{} >= 0",
                moving.of("migration_throttled_seconds_total", &label)
            ))?;
        }
        let lasts = moving.of("migration_duration_seconds", "phase=\"bulk_copy\"");
        self.sees_some(&format!("{lasts} > 0.2"))?;
        self.sees(&of("migration_unattended"), 0)?;
        // What did not begin has no series.
        for later in ["cutover_attempts_total", "cutover_pause_duration_seconds_count"] {
            self.sees_none(&of(later))?;
        }
        self.sees_none(&moving.of_tenant("dual_write_sync_lag_events", ""))?;
        self.sees_none(&moving.of_tenant("dual_write_operations_total", ""))?;
        formats::check(self.site)?;
        Ok(moving)
    }

    /// The target's server goes away in the middle of the copy, and comes back.
    pub(crate) fn copy_is_stuck(&self, moving: &Moving) -> Result<()> {
        self.site.cluster.stop()?;
        self.sees(&format!("store_up{{store_id=\"{REMOTE}\"}}"), 0)?;
        self.sees_some(&format!("{} > 0", moving.of("migration_retries_total", "")))?;
        self.fires("RehomeStoreDown")?;
        self.fires("MigrationBulkCopyStuck")?;
        self.sees(&moving.of("migration_state", ""), 1)?;
        let copied = moving.of("migration_events_copied_total", "");
        self.sees(&format!("{copied} < bool {IMPORTED}"), 1)?;
        self.site.cluster.begin()?;
        self.sees(&format!("store_up{{store_id=\"{REMOTE}\"}}"), 1)?;
        self.site.tune(moving, &OptionsPatch { copy_rate_max: Some(0), ..OptionsPatch::default() })
    }

    /// dual_write; events are mirrored one by one. Answers how many of those that were imported the
    /// copy left to the mirror.
    pub(crate) fn mirrors(&self, moving: &Moving) -> Result<u64> {
        const EVENTS: u64 = 10;
        let of = |name: &str| moving.of(name, "");
        self.sees(&of("migration_state"), 2)?;
        self.sees(&of("migration_progress_percent"), 100)?;
        // The verification before the cutover: all is there, and read back.
        self.sees(&moving.of("verification_duration_seconds_count", "level=\"hash\""), 1)?;
        self.sees(&of("verification_events_checked_total"), IMPORTED)?;
        self.level(moving, IMPORTED)?;
        let success = moving.of_tenant("dual_write_operations_total", "status=\"success\"");
        let seen = self.sees_some(&format!("{success} <= {LAG_MAX}"))?;
        let whole = (0..=LAG_MAX).find(|whole| (*whole as f64 - seen).abs() < 1e-9);
        let left = whole.context("a count")?;
        self.sees(&moving.of_tenant("dual_write_latency_seconds_count", ""), left)?;
        self.attempts(moving, [0; 5])?;
        self.sees(&of("cutover_timeout_total"), 0)?;
        self.sees(&of("cutover_blocked_writers"), 0)?;
        self.sees(&format!("count({})", of("verification_violations_total")), 6)?;
        self.sees(&format!("sum({})", of("verification_violations_total")), 0)?;
        self.sees(&of("verification_open_violations"), 0)?;

        self.site.append(moving.tenant, EVENTS)?;
        self.operations(moving, left + EVENTS)?;
        self.sees(&moving.of_tenant("dual_write_latency_seconds_count", ""), left + EVENTS)?;
        self.appended(moving, EVENTS)?;
        self.level(moving, IMPORTED + EVENTS)?;
        self.sees(&moving.of_tenant("dual_write_target_failures_total", ""), 0)?;
        formats::check(self.site)?;
        Ok(left)
    }

    /// The target's server goes away while events are mirrored, and comes back.
    pub(crate) fn target_is_gone(&self, moving: &Moving, left: u64) -> Result<()> {
        self.site.cluster.stop()?;
        self.site.append(moving.tenant, 5)?;
        let failed = moving.of_tenant("dual_write_target_failures_total", "");
        self.sees_some(&format!("{failed} > 0"))?;
        self.sees(&moving.of_tenant("dual_write_sync_lag_events", ""), 5)?;
        self.operations(moving, left + 10)?;
        // A target failure is an operation too, and the appends never noticed.
        let operations =
            moving.of_tenant("dual_write_operations_total", "status=\"target_failed\"");
        self.sees(&format!("sum({operations}) == bool sum({failed})"), 1)?;
        self.appended(moving, 15)?;
        self.fires("MigrationTargetWriteFailures")?;
        self.site.cluster.begin()?;
        self.operations(moving, left + 15)?;
        self.level(moving, IMPORTED + 15)
    }

    /// dual_write, and all is level.
    pub(crate) fn is_mirrored(&self, tenant: Uuid) -> Result<Moving> {
        let moving = self.site.start(tenant, REMOTE, OptionsPatch::default())?;
        self.sees(&moving.of("migration_state", ""), 2)?;
        self.sees(&moving.of("verification_events_checked_total", ""), IMPORTED)?;
        self.level(&moving, IMPORTED)?;
        Ok(moving)
    }

    /// Writes to the target wait for a lock of the test until the cutover's timeout.
    pub(crate) fn cutover_times_out(&self, moving: &Moving) -> Result<()> {
        const TIMEOUT_MS: u32 = 3_000;
        let options =
            OptionsPatch { cutover_timeout_ms: Some(TIMEOUT_MS), ..OptionsPatch::default() };
        self.site.tune(moving, &options)?;
        self.sees(&format!("store_up{{store_id=\"{REMOTE}\"}}"), 1)?;
        let locked = self.site.lock_remote()?;
        // What the cutover has to bring to the target.
        self.site.append(moving.tenant, 1)?;
        self.site.request_cutover(moving)?;
        self.site.wait_for_state(moving, "cutover_paused")?;
        let blocked = self.site.append_beside(moving.tenant);
        self.site.wait_for_state(moving, "dual_write")?;
        locked.release()?;
        blocked.join().ok().context("a writer")??;

        self.attempts(moving, [1, 0, 0, 1, 0])?;
        self.sees(&moving.of("cutover_timeout_total", ""), 1)?;
        self.sees(&moving.of("cutover_pause_duration_seconds_count", ""), 1)?;
        // The expected values are the timeout, and the duration of the roll back.
        let pause = moving.of("cutover_pause_duration_seconds_sum", "");
        self.sees_some(&format!("{pause} >= 2.9 <= 30"))?;
        let under = moving.of("cutover_pause_duration_seconds_bucket", "le=\"2.5\"");
        self.sees(&under, 0)?;
        self.sees(&moving.of("migration_state", ""), 2)?;
        self.sees(&format!("max_over_time({}[5m])", moving.of("migration_state", "")), 3)?;
        let waited = moving.of("cutover_blocked_writers", "");
        self.sees(&format!("max_over_time({waited}[5m])"), 1)?;
        self.sees(&waited, 0)?;
        let wait = moving.of_tenant("append_longest_wait_seconds", "");
        self.sees_some(&format!("max_over_time({wait}[5m]) > 0.5 < 30"))?;
        self.appended(moving, 2)?;
        self.level(moving, IMPORTED + 2)?;
        for alert in [
            "MigrationCutoverSlow",
            "MigrationCutoverTimeout",
            "MigrationWritersBlocked",
            "TenantWritesBlocked",
        ] {
            self.fires(alert)?;
        }
        formats::check(self.site)
    }

    /// kill -9; another process takes over.
    pub(crate) fn process_is_killed(&self, moving: &Moving) -> Result<()> {
        let started = self.sees_some("process_start_time_seconds")?;
        self.site.kill()?;
        self.sees("up", 0)?;
        self.sees_none(&moving.of("migration_state", ""))?;
        for alert in ["RehomeDown", "MigrationMetricsLost", "RehomeMetricsAbsent"] {
            self.fires(alert)?;
        }
        self.site.serve()?;
        self.sees("up", 1)?;
        self.sees_some(&format!("process_start_time_seconds > {started}"))?;
        self.sees(&moving.of("migration_state", ""), 2)?;
        self.level(moving, IMPORTED + 2)?;
        self.sees(&moving.of("migration_unattended", ""), 0)?;
        // Counters of the process start at 0 again; those of the migration continue.
        self.operations(moving, 0)?;
        self.attempts(moving, [1, 0, 0, 1, 0])
    }

    pub(crate) fn cuts_over(&self, moving: &Moving) -> Result<()> {
        self.site.append(moving.tenant, 1)?;
        self.operations(moving, 1)?;
        // The receiver of the publication does not acknowledge, and then does.
        self.site.hold_publication()?;
        self.site.request_cutover(moving)?;
        self.sees(&moving.of("migration_state", ""), 4)?;
        self.sees(&moving.of("migration_unpublished", ""), 1)?;
        self.fires("MigrationUnpublished")?;
        self.site.release_publication()?;
        self.sees(&moving.of("migration_unpublished", ""), 0)?;
        self.attempts(moving, [2, 1, 0, 1, 0])?;
        self.sees(&moving.of("cutover_timeout_total", ""), 1)?;
        self.sees(&moving.of("cutover_pause_duration_seconds_count", ""), 2)?;
        self.sees(&moving.of("migration_progress_percent", ""), 100)?;
        self.sees(&moving.of("migration_events_total", ""), IMPORTED + 3)?;
        self.sees(&moving.of("migration_events_copied_total", ""), IMPORTED + 3)?;
        // What no longer applies is gone.
        self.sees_none(&moving.of_tenant("dual_write_sync_lag_events", ""))?;
        self.sees_none(&moving.of("migration_read_back_lag_events", ""))?;
        let phases = moving.of("migration_duration_seconds", "");
        for phase in ["bulk_copy", "dual_write", "cutover_paused"] {
            let lasted = moving.of("migration_duration_seconds", &format!("phase=\"{phase}\""));
            self.sees_some(&format!("{lasted} > 0"))?;
        }
        ensure!(!self.site.prometheus.query(&phases)?.is_empty(), "phases have a time");
        let log = self.site.log(moving)?;
        let times = |what: &str| log.iter().filter(|event| event.contains(what)).count();
        ensure!(times("cutover_started") == 2, "two cutovers: {log:?}");
        // It lives there now.
        self.site.append(moving.tenant, 3)?;
        self.appended(moving, 4)?;
        formats::check(self.site)
    }
}

/// The one to the file.
impl Play<'_> {
    /// An event that was copied is changed in the target's file before the copy ends.
    pub(crate) fn is_forged(&self, tenant: Uuid) -> Result<Moving> {
        let slowly = OptionsPatch { copy_rate_max: Some(10), ..OptionsPatch::default() };
        let moving = self.site.start(tenant, DEDICATED, slowly)?;
        let copied = moving.of("migration_events_copied_total", "");
        self.sees_some(&format!("{copied} > 20"))?;
        let forge = "UPDATE events SET data = '{\"number\":\"forged\"}' \
                     WHERE position % 1099511627776 = 10";
        ensure!(self.site.plant(DEDICATED, forge)? == 1, "one event is changed");
        self.site
            .tune(&moving, &OptionsPatch { copy_rate_max: Some(0), ..OptionsPatch::default() })?;
        Ok(moving)
    }

    pub(crate) fn fails(&self, moving: &Moving) -> Result<()> {
        self.sees(&moving.of("migration_state", ""), 5)?;
        self.sees(&moving.of("verification_violations_total", "type=\"content\""), 1)?;
        self.sees(&format!("sum({})", moving.of("verification_violations_total", "")), 1)?;
        self.sees(&moving.of("verification_open_violations", ""), 1)?;
        self.sees(&moving.of("migration_unattended", ""), 0)?;
        self.attempts(moving, [0; 5])?;
        self.fires("MigrationFailed")?;
        self.fires("MigrationVerificationViolations")
    }

    /// The server verifies its stores regularly: forged events are damage there too.
    pub(crate) fn store_is_damaged(&self) -> Result<()> {
        let damaged = |store: &str| format!("store_damaged_tenants{{store_id=\"{store}\"}}");
        self.sees(&damaged(DEDICATED), 1)?;
        self.sees(&damaged(SHARED), 0)?;
        let verified = format!("store_verified_timestamp_seconds{{store_id=\"{SHARED}\"}}");
        self.sees_some(&format!("{verified} > 0"))?;
        let checked = format!("store_verification_events_checked_total{{store_id=\"{SHARED}\"}}");
        self.sees_some(&format!("{checked} >= {IMPORTED}"))?;
        self.fires("RehomeStoreDamaged")
    }

    /// The row is put back as it was.
    pub(crate) fn store_is_mended(&self) -> Result<()> {
        let ours = self.site.event_data(SHARED, 10)?;
        let mend = format!("UPDATE events SET data = '{ours}' WHERE position % 1099511627776 = 10");
        ensure!(self.site.plant(DEDICATED, &mend)? == 1, "one event is changed");
        self.sees(&format!("store_damaged_tenants{{store_id=\"{DEDICATED}\"}}"), 0)
    }

    /// kill -9: the violations stay open, and no screen says otherwise meanwhile.
    pub(crate) fn stays_failed_over_a_restart(&self, moving: &Moving) -> Result<()> {
        self.site.kill()?;
        self.sees("up", 0)?;
        self.site.serve()?;
        self.sees(&moving.of("migration_state", ""), 5)?;
        self.sees(&moving.of("verification_open_violations", ""), 1)?;
        let ended = self.site.receiver.resolved();
        ensure!(!ended.contains("MigrationVerificationViolations"), "nothing was mended");
        Ok(())
    }

    /// `appended`: events that were appended before.
    pub(crate) fn is_aborted(&self, moving: &Moving, appended: u64) -> Result<()> {
        self.site.abort(moving)?;
        self.sees(&moving.of("migration_state", ""), 6)?;
        self.sees_none(&moving.of_tenant("dual_write_sync_lag_events", ""))?;
        // The tenant is where it was, and is written to.
        self.site.append(moving.tenant, 1)?;
        self.appended(moving, appended + 1)
    }
}
