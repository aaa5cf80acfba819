//! What the panels of the dashboards show of what really happened, compared with what the test knows.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use rehome_api::OptionsPatch;
use rehome_dashboards::{Settings, files};
use rehome_monitor::wait_for;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{DEPLOYMENT, IMPORTED, Moving, REMOTE, Which};
use crate::scene::Play;

const OVERVIEW: &str = "Migration Overview";

impl Play<'_> {
    /// What a panel shows when the deployment, and all in it, are chosen: numbers by the labels but the
    /// deployment, the first query of it.
    fn shown(&self, dashboard: &str, title: &str) -> Result<BTreeMap<String, f64>> {
        let mut expression = None;
        for file in files(&Settings::default()) {
            if !file.path.starts_with("dashboards/") {
                continue;
            }
            let document: Value = serde_json::from_str(&file.text)?;
            let panels = document["panels"].as_array().context("panels")?;
            let panel = panels.iter().find(|panel| panel["title"] == title);
            if let Some(panel) = panel.filter(|_| document["title"] == dashboard) {
                expression = panel["targets"][0]["expr"].as_str().map(str::to_owned);
            }
        }
        let expression = expression.with_context(|| format!("{dashboard}: {title}"))?;
        let expression = expression
            .replace("$deployment", DEPLOYMENT)
            .replace("$migration", ".*")
            .replace("$tenant", ".*");
        let samples = self.site.prometheus.query(&expression)?;
        let named = samples.into_iter().map(|sample| {
            let others = sample.labels.iter().filter(|(name, _)| *name != "deployment");
            (others.map(|(_, value)| value.clone()).collect::<Vec<_>>().join(" "), sample.value)
        });
        Ok(named.collect())
    }

    /// Waits until a panel shows exactly this, apart from zeros.
    fn shows(&self, title: &str, wanted: &[(&str, f64)]) -> Result<()> {
        let wanted: BTreeMap<String, f64> =
            wanted.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let mut last = BTreeMap::new();
        let seen = wait_for(&format!("{title} to show {wanted:?}"), || {
            last = self.shown(OVERVIEW, title)?;
            last.retain(|_, value| *value != 0.0);
            let close = |(name, value): (&String, &f64)| {
                last.get(name).is_some_and(|shown| (shown - value).abs() < 0.01 * value.abs())
            };
            Ok((last.len() == wanted.len() && wanted.iter().all(close)).then_some(()))
        });
        seen.with_context(|| format!("it shows {last:?}"))
    }

    /// Begins and ends between two scrapes.
    pub(crate) fn moves_at_once(&self, tenant: Uuid) -> Result<Moving> {
        let options = OptionsPatch { cutover: Some("auto".to_owned()), ..OptionsPatch::default() };
        let moving = self.site.start(tenant, REMOTE, options)?;
        self.site.wait_for_state(&moving, "migrated")?;
        self.shows("Cutover Attempts", &[("started", 1.0), ("succeeded", 1.0)])?;
        let id = moving.id.to_string();
        // Within 5 minutes, per second.
        let ids = format!("{id} {tenant}");
        self.shows("Events Copied Rate", &[(&ids, IMPORTED as f64 / 300.0)])?;
        let shown = self.shown(OVERVIEW, "Write Pause")?;
        let all_are_times = shown.values().all(|value| (0.0..60.0).contains(value));
        ensure!(!shown.is_empty() && all_are_times, "Write Pause: {shown:?}");
        self.shows("Cutover Timeouts", &[])?;
        self.shows("Violations Found", &[])?;
        Ok(moving)
    }

    /// The other process takes its copy over, and is restarted before the cutover. Returns
    /// the remaining process.
    pub(crate) fn is_taken_over_and_restarted(&self, tenant: Uuid) -> Result<Which> {
        let slowly = OptionsPatch { copy_rate_max: Some(40), ..OptionsPatch::default() };
        let moving = self.site.start(tenant, REMOTE, slowly)?;
        let copied = moving.of("migration_events_copied_total", "");
        self.sees_some(&format!("{copied} > 60"))?;
        let first = wait_for("one process to report it", || self.holder(&moving))?;
        let left = if first == Which::First { Which::Second } else { Which::First };
        self.site.kill_that(first)?;
        self.sees(&format!("up{{{}}}", self.site.instance(first)), 0)?;
        let on = moving.of("migration_events_copied_total", &self.site.instance(left));
        self.sees_some(&format!("{on} > 100"))?;
        self.site
            .tune(&moving, &OptionsPatch { copy_rate_max: Some(0), ..OptionsPatch::default() })?;
        self.sees(&moving.of("migration_state", ""), 2)?;
        self.sees(&on, IMPORTED)?;
        let (id, tenant) = (moving.id.to_string(), moving.tenant.to_string());
        let rate = self.shown(OVERVIEW, "Events Copied Rate")?;
        let seen = rate.get(&format!("{id} {tenant}")).copied().unwrap_or_default() * 300.0;
        ensure!((seen - IMPORTED as f64).abs() < 1.0, "copied once: {seen}");
        self.site.kill_that(left)?;
        self.site.serve_that(left)?;
        self.sees(&moving.of("migration_state", &self.site.instance(left)), 2)?;
        self.level(&moving, IMPORTED)?;
        self.site.request_cutover(&moving)?;
        self.sees(&moving.of("migration_state", ""), 4)?;
        self.shows("Cutover Attempts", &[("started", 2.0), ("succeeded", 2.0)])?;
        Ok(left)
    }

    /// A violation is found: it is open, and was found once, also after the process was started again.
    pub(crate) fn is_seen_to_be_forged(&self, left: Which, tenant: Uuid) -> Result<Moving> {
        self.shows("Violations Found", &[])?;
        let forged = self.is_forged(tenant)?;
        self.site.wait_for_state(&forged, "failed")?;
        self.shows("Violations Found", &[("content", 1.0)])?;
        self.shows("Open Violations", &[("", 1.0)])?;
        self.site.kill_that(left)?;
        self.site.serve_that(left)?;
        self.sees(&forged.of("migration_state", &self.site.instance(left)), 5)?;
        self.shows("Open Violations", &[("", 1.0)])?;
        self.shows("Violations Found", &[("content", 1.0)])?;
        self.shows("Failed Migrations", &[("", 1.0)])?;
        Ok(forged)
    }

    /// Seen before it was scraped as failed, or after: nothing of it is left, and nothing is lost.
    pub(crate) fn is_acknowledged(&self, forged: &Moving) -> Result<()> {
        self.site.acknowledge(forged)?;
        self.sees_none(&format!("{{migration_id=\"{}\",__name__!~\"ALERTS.*\"}}", forged.id))?;
        self.shows("Failed Migrations", &[])?;
        self.shows("Open Violations", &[])
    }
}
