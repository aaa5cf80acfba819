//! A drain that misses its window, does not get on, spends its budget, and comes to its end.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rehome_api::OptionsPatch;
use rehome_api::drain::{DrainRequest, DrainSettings, DrainStart, DrainTarget, DrainTuning};
use rehome_app::{drains, migrations};
use rehome_domain::ids::{DrainId, MigrationId};
use rehome_monitor::wait_for;
use uuid::Uuid;

use crate::formats;
use crate::harness::{IMPORTED, REMOTE, SHARED, Site};
use crate::scene::Play;

/// Seconds that are left for the drain to begin before its window opens.
const BEFORE: u64 = 15;

/// A drain of a scene.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining(DrainId);

impl Draining {
    /// A series of the drain: the name with its label and further ones.
    fn of(self, name: &str, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        format!("{name}{{drain_id=\"{}\"{comma}{more}}}", self.0)
    }

    fn tenants(self, state: &str) -> String {
        self.of("drain_tenants", &format!("state=\"{state}\""))
    }

    fn moves(self, step: &str) -> String {
        self.of("drain_moves_total", &format!("step=\"{step}\""))
    }
}

/// A window of one minute that opens soon, but not at once.
fn soon() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let opens = (now + BEFORE).div_ceil(60) * 60;
    let on_the_wall = |at: u64| format!("{:02}:{:02}", at / 3_600 % 24, at / 60 % 60);
    Ok(format!("daily {}-{} UTC", on_the_wall(opens), on_the_wall(opens + 60)))
}

impl Site {
    fn start_drain(&self, tenants: &[Uuid], window: String) -> Result<Draining> {
        let settings = DrainSettings {
            concurrency: Some(1),
            failures_max: Some(1),
            window: Some(window),
            retry_after: Some("1s".parse().map_err(|_| anyhow::anyhow!("a time"))?),
            ..DrainSettings::default()
        };
        let request = DrainRequest {
            from: vec![SHARED.to_owned()],
            to: vec![DrainTarget { store: REMOTE.to_owned(), weight: 1 }],
            tenants: tenants.to_vec(),
            settings,
            // The deployment's are manual: without a window nobody would ask for the cutover.
            options: OptionsPatch { cutover: Some("auto".to_owned()), ..OptionsPatch::default() },
            ..DrainRequest::default()
        };
        let start = DrainStart { request: Some(request), ..DrainStart::default() };
        Ok(Draining(self.ask(async |operator| drains::start(operator, &start, None).await)?))
    }

    fn tune_drain(&self, drain: Draining, settings: DrainSettings) -> Result<()> {
        let tuning = DrainTuning { settings, ..DrainTuning::default() };
        self.ask(async |operator| drains::tune(operator, drain.0, &tuning).await)
    }

    /// The migration of the tenant that is moving, once it exists.
    fn move_of(&self, drain: Draining) -> Result<MigrationId> {
        wait_for("a tenant to move", || {
            let rows = self.ask(async |operator| {
                operator.drain_tenants(drain.0, Some("moving"), 0, 1).await
            })?;
            let id = rows.tenants.first().and_then(|row| row.migration_id).map(MigrationId::new);
            let Some(id) = id else { return Ok(None) };
            Ok(self.ask(async |operator| migrations::show(operator, id).await).ok().map(|_| id))
        })
    }
}

impl Play<'_> {
    /// One tenant, which waits for a window that is to come.
    pub(crate) fn drains(&self, tenant: Uuid) -> Result<Draining> {
        let drain = self.site.start_drain(&[tenant], soon()?)?;
        self.sees(&drain.of("drain_state", ""), 0)?;
        let stores = format!("source_stores=\"{SHARED}\",target_stores=\"{REMOTE}\"");
        self.sees(&drain.of("drain_info", &stores), 1)?;
        self.sees(&drain.tenants("moving"), 1)?;
        self.sees(&drain.tenants("waiting"), 0)?;
        self.sees(&drain.of("drain_events", ""), IMPORTED)?;
        self.sees(&drain.of("drain_events_moved_total", ""), 0)?;
        self.sees(&drain.of("drain_failures_max", ""), 1)?;
        self.sees(&drain.of("drain_workers", ""), 1)?;
        self.sees(&drain.of("drain_needs", ""), 0)?;
        self.sees(&drain.moves("begun"), 1)?;
        self.sees(&drain.moves("finished"), 0)?;
        self.sees_some(&format!("{} > 1e3", drain.of("drain_bytes_copied_total", "")))?;
        formats::check(self.site)?;
        Ok(drain)
    }

    /// It is paused while its window passes.
    pub(crate) fn window_is_missed(&self, drain: Draining) -> Result<()> {
        self.site.ask(async |operator| drains::pause(operator, drain.0).await)?;
        self.sees(&drain.of("drain_state", ""), 1)?;
        let opens = drain.of("drain_window_opens_timestamp_seconds", "");
        self.sees_some(&format!("{opens} - time() < 90"))?;
        self.sees(&drain.of("drain_window_open", ""), 1)?;
        self.sees_none(&opens)?;
        self.sees(&drain.of("drain_window_missed", ""), 0)?;
        self.sees(&drain.of("drain_window_missed", ""), 1)?;
        self.fires("RehomeDrainWindowMissed")?;
        self.sees(&drain.tenants("moved"), 0)
    }

    /// It may go on at any time, and its target's server is gone.
    pub(crate) fn drain_is_stalled(&self, drain: Draining) -> Result<()> {
        self.site.cluster.stop()?;
        let any = DrainSettings { window: Some("any".to_owned()), ..DrainSettings::default() };
        self.site.tune_drain(drain, any)?;
        self.site.ask(async |operator| drains::resume(operator, drain.0).await)?;
        self.sees(&drain.of("drain_state", ""), 0)?;
        self.sees(&drain.of("drain_window_open", ""), 1)?;
        self.sees(&drain.of("drain_window_missed", ""), 0)?;
        self.fires("RehomeDrainStalled")?;
        let progress = drain.of("drain_last_progress_timestamp_seconds", "");
        self.sees_some(&format!("time() - {progress} > 5"))?;
        self.sees(&drain.tenants("moving"), 1)
    }

    /// Somebody aborts the move, and one failure is all that may be.
    pub(crate) fn budget_is_spent(&self, drain: Draining) -> Result<()> {
        let id = self.site.move_of(drain)?;
        self.site.ask(async |operator| migrations::abort(operator, id, false).await)?;
        self.sees(&drain.of("drain_state", ""), 2)?;
        self.sees(&drain.of("drain_failures", ""), 1)?;
        self.sees(&drain.moves("failed"), 1)?;
        self.sees(&drain.tenants("again"), 1)?;
        self.sees_some(&format!("{} > 0", drain.of("drain_needs", "")))?;
        self.fires("RehomeDrainBudgetSpent")
    }

    /// It is resumed and comes to its end; after the retention no series of it is left.
    pub(crate) fn drain_ends(&self, drain: Draining) -> Result<()> {
        self.site.cluster.begin()?;
        let lenient = DrainSettings { failures_max: Some(0), ..DrainSettings::default() };
        self.site.tune_drain(drain, lenient)?;
        self.sees(&drain.of("drain_failures_max", ""), 0)?;
        self.site.ask(async |operator| drains::resume(operator, drain.0).await)?;
        self.sees(&drain.of("drain_state", ""), 5)?;
        self.sees(&drain.tenants("moved"), 1)?;
        self.sees(&drain.moves("finished"), 1)?;
        self.sees_some(&format!("{} >= 2", drain.moves("begun")))?;
        self.sees(&drain.of("drain_events_moved_total", ""), IMPORTED)?;
        self.sees_none(&drain.of("drain_remaining_seconds", ""))?;
        formats::check(self.site)?;
        let name = format!("{{drain_id=\"{}\",__name__!~\"ALERTS.*\"}}", drain.0);
        self.sees_none(&name)?;
        let left = self.site.prometheus.value("count(drain_state)")?;
        ensure!(left.is_none(), "no drain is left");
        self.sees("up", 1).context("it serves all the while")
    }
}
