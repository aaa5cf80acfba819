//! The state at the end: no series, the alerts that fired and those that did not, log lines.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use rehome_monitor::wait_for;
use serde_json::Value;

use crate::formats;
use crate::harness::Moving;
use crate::scene::Play;

/// A slow machine may be slow enough for these, on the faster clock.
const MAY_FIRE: [&str; 3] =
    ["MigrationHighDualWriteLatency", "MigrationUnattended", "TenantAppendLatencyHigh"];

impl Play<'_> {
    /// After the retention no series of the migration is left, and none of its dual write.
    pub(crate) fn is_forgotten(&self, moving: &Moving) -> Result<()> {
        self.sees_none(&format!("{{migration_id=\"{}\",__name__!~\"ALERTS.*\"}}", moving.id))?;
        let name = "__name__=~\"(dual_write|migration)_.*\"";
        self.sees_none(&format!("{{tenant_id=\"{}\",{name}}}", moving.tenant))?;
        self.sees("up", 1)?;
        formats::check(self.site)
    }

    /// Which alerts fired, which did not, and that all were resolved in the end.
    pub(crate) fn alerts(&self, must: &[&str], may: &[&str]) -> Result<()> {
        let wanted: BTreeSet<String> = must.iter().map(|name| (*name).to_owned()).collect();
        wait_for("all alerts to have arrived, and their ends", || {
            let receiver = &self.site.receiver;
            let arrived = receiver.fired().is_superset(&wanted);
            Ok((arrived && receiver.resolved().is_superset(&wanted)).then_some(()))
        })?;
        self.fired_and_ended(must, may)
    }

    /// Whatever Alertmanager made of it.
    pub(crate) fn fired_and_ended(&self, must: &[&str], may: &[&str]) -> Result<()> {
        let must: BTreeSet<String> = must.iter().map(|name| (*name).to_owned()).collect();
        let may: BTreeSet<&str> = may.iter().chain(&MAY_FIRE).copied().collect();
        let prometheus = &self.site.prometheus;
        wait_for("all alerts to be over", || Ok(prometheus.firing()?.is_empty().then_some(())))?;
        let loaded = prometheus.alert_rules()?;
        ensure!(loaded.is_superset(&must), "loaded: {loaded:?}");
        ensure!(prometheus.broken_rules()?.is_empty(), "{:?}", prometheus.broken_rules()?);
        let fired = prometheus.ever_fired()?;
        ensure!(fired.is_superset(&must), "fired: {fired:?}");
        for fired in [fired, self.site.receiver.fired()] {
            let unasked = |name: &&String| !must.contains(*name) && !may.contains(name.as_str());
            let unasked: Vec<_> = fired.iter().filter(unasked).collect();
            ensure!(unasked.is_empty(), "nothing of that kind happened: {unasked:?}");
        }
        for notice in self.site.receiver.notices() {
            let has =
                |name: &str| notice.annotations.get(name).is_some_and(|text| !text.is_empty());
            ensure!(notice.labels.contains_key("severity"), "no severity: {notice:?}");
            ensure!(has("summary") && has("description") && has("runbook_url"), "{notice:?}");
        }
        Ok(())
    }

    pub(crate) fn says_of_the_outage(&self, moving: &Moving) -> Result<()> {
        let said = self.said(1, moving)?;
        // The aborting process logs the abort: the test.
        let wanted = ["Lease taken", "Bulk copy complete"];
        ensure!(said.milestones() == wanted, "{said:?}");
        ensure!(said.times("Target write failed") > 0, "{said:?}");
        ensure!(said.errors().is_empty(), "{said:?}");
        Ok(())
    }

    pub(crate) fn says_of_the_cutovers(&self, moving: &Moving) -> Result<()> {
        let said = self.said(1, moving)?;
        let wanted = ["Lease taken", "Bulk copy complete", "Cutover initiated", "Cutover timeout"];
        ensure!(said.milestones() == wanted, "{said:?}");
        ensure!(said.errors() == BTreeSet::from(["Cutover timeout"]), "{said:?}");
        let said = self.said(2, moving)?;
        let wanted =
            ["Lease taken", "Cutover initiated", "Cutover completed", "Migration completed"];
        ensure!(said.milestones() == wanted, "{said:?}");
        ensure!(said.errors().is_empty(), "{said:?}");
        Ok(())
    }

    pub(crate) fn says_of_the_failure(&self, forged: &Moving) -> Result<()> {
        let said = self.said(1, forged)?;
        for once in ["Bulk copy complete", "Consistency check failed", "Migration failed"] {
            ensure!(said.times(once) == 1, "{once}: {said:?}");
        }
        let wanted = ["Consistency check failed", "Migration failed"];
        ensure!(said.errors() == BTreeSet::from(wanted), "{said:?}");
        Ok(())
    }

    /// The log lines of a migration from the server that was started as the `which`th.
    fn said(&self, which: u32, moving: &Moving) -> Result<Said> {
        let id = moving.id.to_string();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or("").to_owned();
        let lines = self.site.lines(which)?.into_iter();
        let ours = lines.filter(|line| {
            line["migration_id"] == *id && line["logger"] == "eventsource.migration"
        });
        Ok(Said(ours.map(|line| (text(&line, "message"), text(&line, "level"))).collect()))
    }
}

/// Messages and levels, in their order.
#[derive(Debug)]
struct Said(Vec<(String, String)>);

impl Said {
    /// Messages that are there once for each time it happened.
    fn milestones(&self) -> Vec<&str> {
        const MILESTONES: [&str; 8] = [
            "Lease taken",
            "Bulk copy complete",
            "Cutover initiated",
            "Cutover timeout",
            "Cutover completed",
            "Migration completed",
            "Consistency check failed",
            "Migration failed",
        ];
        let messages = self.0.iter().map(|(message, _)| message.as_str());
        messages.filter(|message| MILESTONES.contains(message)).collect()
    }

    fn times(&self, message: &str) -> usize {
        self.0.iter().filter(|(said, _)| said == message).count()
    }

    fn errors(&self) -> BTreeSet<&str> {
        let errors = self.0.iter().filter(|(_, level)| level == "ERROR");
        errors.map(|(message, _)| message.as_str()).collect()
    }
}
