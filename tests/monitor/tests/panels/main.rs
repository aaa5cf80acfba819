//! The contents of each dashboard panel: its queries, evaluated by a real Prometheus over known
//! series of two processes.

mod drains;
mod history;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use rehome_dashboards::{Settings, files};
use rehome_monitor::{Prometheus, Sample, Setup};
use serde_json::Value;

use history::{History, LASTS, NOW};

/// A panel's contents: numbers by legend; without a legend, by the labels.
type Shown = &'static [(&'static str, f64)];

/// Every panel, by its dashboard and its title, and what it shows over the scene.
const SHOWN: &[(&str, &str, Shown)] = &[
    (OVERVIEW, "Active Migrations", &[("d1", 3.0)]),
    (OVERVIEW, "Failed Migrations", &[("d1", 1.0)]),
    (OVERVIEW, "Unattended Migrations", &[("d1", 1.0)]),
    (OVERVIEW, "Unpublished Switches", &[("d1", 1.0)]),
    (OVERVIEW, "Open Violations", &[("d1", 2.0)]),
    (OVERVIEW, "Blocked Writers", &[("d1", 7.0)]),
    (OVERVIEW, "Alerts Firing", &[("d1", 1.0)]),
    (OVERVIEW, "State", &[("m1", 2.0), ("m2", 1.0), ("m3", 5.0), ("m4", 4.0), ("m5", 0.0)]),
    (
        OVERVIEW,
        "Migrations",
        &[
            ("migration_id=m1 source_store=shared target_store=big tenant_id=t1", 2.0),
            ("migration_id=m2 source_store=shared target_store=big tenant_id=t2", 1.0),
            ("migration_id=m3 source_store=shared target_store=big tenant_id=t3", 5.0),
            ("migration_id=m4 source_store=shared target_store=big tenant_id=t4", 4.0),
            ("migration_id=m5 source_store=shared target_store=big tenant_id=t5", 0.0),
        ],
    ),
    (OVERVIEW, "Migration Progress", &[("m1", 100.0), ("m2", 25.0), ("m3", 60.0), ("m4", 100.0)]),
    (OVERVIEW, "Events Copied Rate", &[("m1", 0.0), ("m2", 0.1), ("m3", 0.0), ("m4", 0.0)]),
    (OVERVIEW, "Sync Lag", &[("t1", 7.0)]),
    (OVERVIEW, "Remaining Events", &[("m1", 0.0), ("m2", 3_000.0), ("m3", 200.0), ("m4", 0.0)]),
    (OVERVIEW, "Since Last Progress", &[("m1", 10.0), ("m2", 30.0), ("m5", 500.0)]),
    (
        OVERVIEW,
        "Time in Each Phase",
        &[("bulk_copy m1", 60.0), ("bulk_copy m2", 90.0), ("dual_write m1", 40.0)],
    ),
    (OVERVIEW, "Bytes Copied Rate", &[("m2", 500.0)]),
    (OVERVIEW, "Throttled", &[("m2", 0.25)]),
    (OVERVIEW, "Speed", &[("m2", 40.0)]),
    (OVERVIEW, "Gives Way", &[("replica_lag m2", 0.5)]),
    // 90 of a hundred pauses between 10 and 25 ms, which one process has, 10 between 0.5 and 1 s; the
    // other process took over and has all of them.
    (OVERVIEW, "Write Pause", &[("p50", 0.018_333), ("p99", 0.95)]),
    (OVERVIEW, "Writers Blocked by a Cutover", &[("m1", 7.0)]),
    (OVERVIEW, "Cutover Attempts", &[("started", 2.0), ("succeeded", 1.0), ("timed_out", 1.0)]),
    (OVERVIEW, "Cutover Timeouts", &[("m1", 1.0)]),
    (OVERVIEW, "Violations Found", &[("content", 2.0), ("missing", 1.0)]),
    (OVERVIEW, "Events Verified Rate", &[("m3", 5.0)]),
    (OVERVIEW, "Verification Duration (p99)", &[("hash", 0.496)]),
    (OVERVIEW, "Read-Back Lag", &[("m1", 12.0)]),
    (OVERVIEW, "Processes", &[("d1", 2.0)]),
    (OVERVIEW, "Stores That Do Not Answer", &[("d1", 1.0)]),
    (OVERVIEW, "Control Plane Unreachable", &[("d1", 1.0)]),
    (OVERVIEW, "Takeovers and Lost Leases", &[("taken over m1", 1.0), ("lost m1", 1.0)]),
    (OVERVIEW, "CPU", &[("a:1", 0.5), ("b:1", 0.25)]),
    (OVERVIEW, "Memory", &[("a:1", 1e8), ("b:1", 2e8)]),
    (HEALTH, "Dual-Write Success Rate", &[("t1", 0.9), ("t6", 0.0)]),
    (HEALTH, "Target Write Failures", &[("t1", 0.1), ("t6", 0.2)]),
    // 90 of a hundred within 5 ms in one process, 10 between 0.1 and 0.25 s in the other.
    (HEALTH, "Dual-Write Latency (p99)", &[("t1", 0.235)]),
    (
        HEALTH,
        "Mirrored Events Rate",
        &[("success t1", 0.9), ("target_failed t1", 0.1), ("target_failed t6", 0.2)],
    ),
    (HEALTH, "Lag Behind the Source", &[("t1", 7.0)]),
    (HEALTH, "Read-Back Lag", &[("t1", 12.0)]),
    (HEALTH, "Lag of the Return", &[("t4", 3.0)]),
    (HEALTH, "Faults Met", &[("m1", 3.0)]),
    (TENANT, "Appends", &[("ok", 1.0), ("conflict", 0.05)]),
    (TENANT, "Append Latency", &[("p50", 0.000_777_8), ("p99", 0.235)]),
    (TENANT, "Longest Wait", &[("longest wait", 1.5)]),
    (TENANT, "Routed Again", &[("routed again", 0.03)]),
    (TENANT, "State", &[("m1", 2.0)]),
    (TENANT, "Progress", &[("m1", 100.0)]),
    (TENANT, "Lag", &[("lag", 7.0)]),
    (TENANT, "Dual-Write Latency", &[("p99", 0.235)]),
    (TENANT, "Target Write Failures", &[("failures", 0.1)]),
    (DRAINS, "Drains at Work", &[("d1", 2.0)]),
    (DRAINS, "Needs You", &[("d1", 3.0)]),
    (DRAINS, "Tenants Left", &[("d1", 57.0)]),
    (DRAINS, "Tenants Moved", &[("d1", 70.0)]),
    (DRAINS, "Set Aside", &[("d1", 2.0)]),
    (DRAINS, "Time Left", &[("d1", 600.0)]),
    (DRAINS, "State", &[("e1", 0.0), ("e2", 2.0), ("e3", 5.0)]),
    (
        DRAINS,
        "Drains",
        &[
            ("drain_id=e1 source_stores=shared target_stores=big,new", 0.0),
            ("drain_id=e2 source_stores=shared target_stores=big,new", 2.0),
            ("drain_id=e3 source_stores=shared target_stores=big,new", 5.0),
        ],
    ),
    (
        DRAINS,
        "Tenants by State",
        &[
            ("moved e1", 40.0),
            ("moving e1", 4.0),
            ("waiting e1", 46.0),
            ("again e2", 7.0),
            ("moved e2", 20.0),
            ("set_aside e2", 2.0),
            ("moved e3", 10.0),
        ],
    ),
    // Both servers report the moves of the drain: they are counted once.
    (DRAINS, "Moves", &[("begun e1", 0.1), ("finished e1", 0.05), ("failed e2", 0.0)]),
    (DRAINS, "Events Moved", &[("e1", 0.25)]),
    // Each reports the bytes that it copied itself.
    (DRAINS, "Bytes Copied", &[("e1", 3_000.0)]),
    (DRAINS, "Since Last Progress", &[("e1", 20.0)]),
    (
        DRAINS,
        "Failures against the Budget",
        &[("failures e1", 1.0), ("budget e1", 20.0), ("failures e2", 20.0), ("budget e2", 20.0)],
    ),
    (DRAINS, "Window", &[("e1", 1.0), ("e2", 0.0)]),
    (DRAINS, "Processes at Work", &[("e1", 2.0), ("e2", 0.0)]),
];

const DRAINS: &str = "Drains";
const OVERVIEW: &str = "Migration Overview";
const HEALTH: &str = "Dual-Write Health";
const TENANT: &str = "Tenant";

const A: &str = "a:1";
const B: &str = "b:1";

/// Two processes that serve, and nothing that moves.
fn idle(deployment: &'static str) -> History {
    let mut history = History::of(deployment);
    for (instance, cpu, memory) in [(A, 0.5, 1e8), (B, 0.25, 2e8)] {
        history
            .flat(instance, "rehome_build_info{version=\"1\"}", 1.0)
            .flat(instance, "store_up{store_id=\"shared\"}", 1.0)
            .grows(instance, "process_cpu_seconds_total", cpu)
            .flat(instance, "process_resident_memory_bytes", memory);
    }
    history
}

/// Five migrations: in dual_write and reported by one process, in bulk_copy and reported by the other, failed
/// and migrated and reported by both, pending without a driver. A sixth tenant's target accepts no writes.
fn busy(deployment: &'static str) -> History {
    let mut history = idle(deployment);
    for (number, state, tellers) in [
        (1, 2.0, &[A][..]),
        (2, 1.0, &[B]),
        (3, 5.0, &[A, B]),
        (4, 4.0, &[A, B]),
        (5, 0.0, &[A, B]),
    ] {
        let both = format!("migration_id=\"m{number}\",tenant_id=\"t{number}\"");
        let stores = "source_store=\"shared\",target_store=\"big\"";
        for instance in tellers {
            history
                .flat(instance, &format!("migration_state{{{both}}}"), state)
                .flat(instance, &format!("migration_info{{{both},{stores}}}"), 1.0)
                .flat(
                    instance,
                    &format!("migration_unattended{{{both}}}"),
                    if number == 5 { 1.0 } else { 0.0 },
                )
                .flat(
                    instance,
                    &format!("migration_unpublished{{{both}}}"),
                    if number == 4 { 1.0 } else { 0.0 },
                );
        }
    }
    progress(&mut history);
    cutover_and_verification(&mut history);
    processes(&mut history);
    dual_write_and_appends(&mut history);
    drains::add(&mut history);
    history
}

fn progress(history: &mut History) {
    let now = NOW as f64;
    for (instance, id, percent, total, copied) in [
        (A, 1, 100.0, 1_000.0, 1_000.0),
        (A, 3, 60.0, 500.0, 300.0),
        (A, 4, 100.0, 200.0, 200.0),
        (B, 4, 100.0, 200.0, 200.0),
    ] {
        let both = format!("{{migration_id=\"m{id}\",tenant_id=\"t{id}\"}}");
        history
            .flat(instance, &format!("migration_progress_percent{both}"), percent)
            .flat(instance, &format!("migration_events_total{both}"), total)
            .flat(instance, &format!("migration_events_copied_total{both}"), copied);
    }
    let second = "{migration_id=\"m2\",tenant_id=\"t2\"}";
    history
        .flat(B, &format!("migration_progress_percent{second}"), 25.0)
        .flat(B, &format!("migration_events_total{second}"), 4_000.0)
        .series(B, &format!("migration_events_copied_total{second}"), |at| {
            1_000.0 - 0.1 * (LASTS - 15 - at) as f64
        })
        .grows(B, &format!("migration_bytes_copied_total{second}"), 500.0)
        .grows(B, &format!("migration_throttle_wait_seconds_total{second}"), 0.25)
        .flat(B, &format!("migration_throttle_percent{second}"), 40.0)
        .grows(
            B,
            "migration_throttled_seconds_total{migration_id=\"m2\",reason=\"replica_lag\"}",
            0.5,
        );
    for (instance, id, ago) in [(A, 1, 10.0), (B, 2, 30.0), (A, 3, 900.0), (A, 5, 500.0)] {
        let both = format!("{{migration_id=\"m{id}\",tenant_id=\"t{id}\"}}");
        let series = format!("migration_last_progress_timestamp_seconds{both}");
        history.flat(instance, &series, now - ago);
    }
    for (instance, id, phase, lasted) in
        [(A, 1, "bulk_copy", 60.0), (A, 1, "dual_write", 40.0), (B, 2, "bulk_copy", 90.0)]
    {
        let labels = format!("{{migration_id=\"m{id}\",phase=\"{phase}\"}}");
        history.flat(instance, &format!("migration_duration_seconds{labels}"), lasted);
    }
}

fn cutover_and_verification(history: &mut History) {
    let pause = "cutover_pause_duration_seconds{migration_id=\"m1\"}";
    let (fast, all) = (0.025, 0.025 * 10.0 / 9.0);
    let first = [("0.01", 0.0), ("0.025", fast), ("0.5", fast), ("1.0", fast), ("+Inf", fast)];
    let then = [("0.01", 0.0), ("0.025", fast), ("0.5", fast), ("1.0", all), ("+Inf", all)];
    history
        .histogram(A, pause, &first)
        .histogram(B, pause, &then)
        .flat(A, "cutover_blocked_writers{migration_id=\"m1\"}", 3.0)
        .flat(B, "cutover_blocked_writers{migration_id=\"m1\"}", 4.0);
    for (instance, status, times) in [
        (A, "started", 1.0),
        (A, "timed_out", 1.0),
        (B, "started", 2.0),
        (B, "timed_out", 1.0),
        (B, "succeeded", 1.0),
    ] {
        let labels = format!("{{migration_id=\"m1\",status=\"{status}\"}}");
        history.jumps(instance, &format!("cutover_attempts_total{labels}"), times);
    }
    let level = "verification_duration_seconds{level=\"hash\",migration_id=\"m3\"}";
    history
        .jumps(A, "cutover_timeout_total{migration_id=\"m1\"}", 1.0)
        .jumps(A, "verification_violations_total{migration_id=\"m3\",type=\"content\"}", 2.0)
        .jumps(B, "verification_violations_total{migration_id=\"m3\",type=\"missing\"}", 1.0)
        .flat(A, "verification_open_violations{migration_id=\"m3\"}", 2.0)
        .grows(A, "verification_events_checked_total{migration_id=\"m3\"}", 5.0)
        .histogram(A, level, &[("0.1", 0.0), ("0.5", 0.1), ("+Inf", 0.1)])
        .flat(A, "migration_read_back_lag_events{migration_id=\"m1\",tenant_id=\"t1\"}", 12.0);
}

fn processes(history: &mut History) {
    history
        .flat(A, "store_up{store_id=\"big\"}", 1.0)
        .flat(B, "store_up{store_id=\"big\"}", 0.0)
        .flat(A, "control_plane_up", 1.0)
        .flat(B, "control_plane_up", 0.0)
        .jumps(A, "migration_lease_takeovers_total{migration_id=\"m1\"}", 1.0)
        .jumps(B, "migration_lease_lost_total{migration_id=\"m1\"}", 1.0)
        .flat(A, "ALERTS{alertname=\"MigrationFailed\",alertstate=\"firing\"}", 1.0)
        .flat(A, "ALERTS{alertname=\"MigrationPausedLong\",alertstate=\"pending\"}", 1.0)
        .flat(A, "ALERTS{alertname=\"SomebodyElses\",alertstate=\"firing\"}", 1.0);
}

fn dual_write_and_appends(history: &mut History) {
    let first = "tenant_id=\"t1\"";
    let of = |name: &str, more: &str| format!("{name}{{{more}{first}}}");
    let fast = |rate| [("0.005", rate), ("0.1", rate), ("0.25", rate), ("+Inf", rate)];
    let slow = |rate| [("0.005", 0.0), ("0.1", 0.0), ("0.25", rate), ("+Inf", rate)];
    history
        .grows(A, &of("dual_write_operations_total", "status=\"success\","), 0.6)
        .grows(B, &of("dual_write_operations_total", "status=\"success\","), 0.3)
        .grows(A, &of("dual_write_operations_total", "status=\"target_failed\","), 0.1)
        .grows(A, "dual_write_operations_total{status=\"target_failed\",tenant_id=\"t6\"}", 0.2)
        .grows(A, &of("dual_write_target_failures_total", ""), 0.1)
        .grows(A, "dual_write_target_failures_total{tenant_id=\"t6\"}", 0.2)
        .histogram(A, &of("dual_write_latency_seconds", ""), &fast(0.09))
        .histogram(B, &of("dual_write_latency_seconds", ""), &slow(0.01))
        .flat(A, &of("dual_write_sync_lag_events", ""), 7.0)
        .flat(A, "migration_rollback_window_lag_events{migration_id=\"m4\",tenant_id=\"t4\"}", 3.0)
        .grows(A, "migration_retries_total{migration_id=\"m1\"}", 0.01);
    let ok = of("append_duration_seconds", "outcome=\"ok\",");
    let conflict = of("append_duration_seconds", "outcome=\"conflict\",");
    let rates = |fast: f64, slow: f64| {
        let all = fast + slow;
        [("0.0005", 0.0), ("0.001", fast), ("0.1", fast), ("0.25", all), ("+Inf", all)]
    };
    history
        .histogram(A, &ok, &rates(0.9, 0.0))
        .histogram(B, &ok, &rates(0.0, 0.1))
        .histogram(A, &conflict, &rates(0.05, 0.0))
        .flat(A, &of("append_longest_wait_seconds", ""), 0.0)
        .flat(B, &of("append_longest_wait_seconds", ""), 1.5)
        .grows(A, &of("fenced_appends_total", ""), 0.01)
        .grows(B, &of("fenced_appends_total", ""), 0.02);
}

/// A panel of a dashboard.
struct Panel {
    dashboard: String,
    document: Value,
}

impl Panel {
    fn title(&self) -> &str {
        self.document["title"].as_str().unwrap_or("")
    }

    /// The text for an empty result, if there is one.
    fn none(&self) -> Option<&str> {
        self.document["fieldConfig"]["defaults"]["noValue"].as_str()
    }

    /// Queries and legends.
    fn queries(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let targets = self.document["targets"].as_array().into_iter().flatten();
        let queries = targets.map(|target| (chosen(&text(&target["expr"])), target));
        queries.map(|(expression, target)| (expression, text(&target["legendFormat"]))).collect()
    }
}

/// Grafana's query when the deployment `d1`, the tenant `t1`, or all, and all migrations are selected.
fn chosen(expression: &str) -> String {
    expression
        .replace("$deployment", "d1")
        .replace("=\"$tenant\"", "=\"t1\"")
        .replace("$tenant", ".*")
        .replace("$migration", ".*")
        .replace("$drain", ".*")
}

fn dashboards() -> Result<Vec<Value>> {
    let files = files(&Settings::default()).into_iter();
    files
        .filter(|file| file.path.starts_with("dashboards/"))
        .map(|file| Ok(serde_json::from_str(&file.text)?))
        .collect()
}

fn panels() -> Result<Vec<Panel>> {
    let mut all = Vec::new();
    for dashboard in dashboards()? {
        let title = dashboard["title"].as_str().context("a title")?.to_owned();
        for panel in dashboard["panels"].as_array().context("panels")? {
            if panel["type"] != "row" {
                all.push(Panel { dashboard: title.clone(), document: panel.clone() });
            }
        }
    }
    Ok(all)
}

/// As a person reads it: the legend with the labels in it, or all labels.
fn legend(format: &str, sample: &Sample) -> String {
    if format.is_empty() {
        let labels = sample.labels.iter().filter(|(name, _)| *name != "deployment");
        let labels = labels.map(|(name, value)| format!("{name}={value}"));
        return labels.collect::<Vec<_>>().join(" ");
    }
    let labels = sample.labels.iter();
    let filled = labels.fold(format.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    });
    // Another test checks that all of it belongs to the selected deployment.
    let filled = if format == "{{deployment}}" { filled } else { filled.replace(" d1", "") };
    // Labels that are not there.
    let mut text = String::new();
    for part in filled.split("{{") {
        text.push_str(part.split_once("}}").map_or(part, |(_, rest)| rest));
    }
    text.trim().to_owned()
}

fn prometheus(history: &History) -> Result<Prometheus> {
    Prometheus::start(&Setup { history: history.text(), ..Setup::default() })
}

#[test]
fn every_panel_shows_what_is_so() -> Result<()> {
    // Another deployment with the same migrations and tenants changes nothing.
    let prometheus = prometheus(&busy("d1").and(&busy("d2")))?;
    let mut wrong = Vec::new();
    let mut looked_at = BTreeSet::new();
    for panel in panels()? {
        let (dashboard, title) = (panel.dashboard.as_str(), panel.title());
        let wanted = SHOWN.iter().find(|(of, name, _)| *of == dashboard && *name == title);
        let (.., wanted) = wanted.with_context(|| format!("{dashboard}: {title} is not known"))?;
        looked_at.insert((dashboard.to_owned(), title.to_owned()));
        wrong.extend(complaint(&prometheus, &panel, wanted)?);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(looked_at.len() == SHOWN.len(), "a panel that is known here is gone");
    Ok(())
}

/// The panel's contents, if they differ from the expected ones.
fn complaint(prometheus: &Prometheus, panel: &Panel, wanted: Shown) -> Result<Option<String>> {
    let (dashboard, title) = (panel.dashboard.as_str(), panel.title());
    let mut shown = BTreeMap::new();
    for (expression, format) in panel.queries() {
        for sample in prometheus.query_at(&expression, NOW)? {
            let of = sample.label("deployment");
            ensure!(of.is_empty() || of == "d1", "{dashboard}: {title} shows one of {of}");
            let name = legend(&format, &sample);
            let twice = shown.insert(name.clone(), sample.value);
            ensure!(twice.is_none(), "{dashboard}: {title} has two of {name}");
        }
    }
    let close = |wanted: f64, shown: f64| (shown - wanted).abs() <= 0.02 * wanted.abs() + 1e-9;
    let right = shown.len() == wanted.len()
        && wanted
            .iter()
            .all(|(name, value)| shown.get(*name).is_some_and(|shown| close(*value, *shown)));
    Ok((!right).then(|| format!("{dashboard}: {title} shows {shown:?} and not {wanted:?}")))
}

/// Panels with series that start above 0, migrations shorter than a scrape interval,
/// processes that took over, and one that was restarted.
const SHORT: &[(&str, &str, Shown)] = &[
    (
        OVERVIEW,
        "Cutover Attempts",
        &[("started", 5.0), ("succeeded", 3.0), ("timed_out", 1.0), ("rolled_back", 1.0)],
    ),
    (OVERVIEW, "Cutover Timeouts", &[("m1", 0.0), ("m3", 1.0)]),
    // Three of 20 ms, two of 2 s.
    (OVERVIEW, "Write Pause", &[("p50", 0.022_5), ("p99", 2.462_5)]),
    (OVERVIEW, "Violations Found", &[("content", 2.0), ("missing", 2.0)]),
    (OVERVIEW, "Verification Duration (p99)", &[("hash", 0.099)]),
    (OVERVIEW, "Events Copied Rate", &[("m1", 0.0), ("m3", 8_050.0 / 300.0)]),
    (OVERVIEW, "Bytes Copied Rate", &[("m3", 8_000.0 / 300.0)]),
    (OVERVIEW, "Takeovers and Lost Leases", &[("taken over m3", 1.0), ("lost", 0.0)]),
    (HEALTH, "Mirrored Events Rate", &[("success t3", 50.0 / 300.0), ("target_failed t3", 0.1)]),
    (HEALTH, "Target Write Failures", &[("t3", 0.1)]),
    (HEALTH, "Dual-Write Success Rate", &[("t3", 50.0 / 80.0)]),
];

/// All of it happened within the last minutes.
fn short(deployment: &'static str) -> History {
    let mut history = idle(deployment);
    let attempts = |id: &str, status: &str| {
        format!("cutover_attempts_total{{migration_id=\"{id}\",status=\"{status}\"}}")
    };
    let pauses = |history: &mut History, instance, id: &str, when, counts: [f64; 2]| {
        let [fast, all] = counts;
        for (le, count) in
            [("0.01", 0.0), ("0.025", fast), ("1.0", fast), ("2.5", all), ("+Inf", all)]
        {
            let series = format!(
                "cutover_pause_duration_seconds_bucket{{le=\"{le}\",migration_id=\"{id}\"}}"
            );
            history.between(instance, &series, when, |_| count);
        }
    };
    // Over before it was first scraped, and forgotten since.
    let when = (1_200, 400);
    for status in ["started", "succeeded"] {
        history.between(A, &attempts("m1", status), when, |_| 1.0);
    }
    history.between(A, "cutover_timeout_total{migration_id=\"m1\"}", when, |_| 0.0).between(
        A,
        "migration_events_copied_total{migration_id=\"m1\",tenant_id=\"t1\"}",
        (1_200, 200),
        |_| 600.0,
    );
    pauses(&mut history, A, "m1", when, [1.0, 1.0]);
    for le in ["0.1", "0.5", "+Inf"] {
        let series = format!(
            "verification_duration_seconds_bucket{{le=\"{le}\",level=\"hash\",migration_id=\"m1\"}}"
        );
        history.between(A, &series, when, |_| 1.0);
    }
    let found = |id: &str, kind: &str| {
        format!("verification_violations_total{{migration_id=\"{id}\",type=\"{kind}\"}}")
    };
    history.between(A, &found("m2", "content"), (900, 0), |_| 2.0);
    taken_over(&mut history, &attempts);
    pauses(&mut history, A, "m3", (240, 120), [0.0, 1.0]);
    pauses(&mut history, B, "m3", (105, 0), [1.0, 2.0]);
    // The same process, restarted: the migration's series continue, its own start again.
    let violated = found("m4", "missing");
    history
        .between(B, &attempts("m4", "started"), (900, 600), |_| 1.0)
        .between(B, &attempts("m4", "started"), (540, 0), |at| if at > 100 { 2.0 } else { 1.0 })
        .between(B, &attempts("m4", "rolled_back"), (900, 600), |_| 1.0)
        .between(B, &attempts("m4", "rolled_back"), (540, 0), |_| 1.0)
        .between(B, &attempts("m4", "succeeded"), (540, 0), |at| if at > 100 { 1.0 } else { 0.0 })
        .between(B, &violated, (900, 600), |at| if at > 100 { 1.0 } else { 0.0 })
        .between(B, &violated, (540, 0), |at| if at > 100 { 1.0 } else { 0.0 });
    pauses(&mut history, B, "m4", (900, 600), [0.0, 1.0]);
    pauses(&mut history, B, "m4", (540, 0), [1.0, 2.0]);
    history
}

/// Copied by one process, which died, and then by another, whose counters of its own begin at 0.
fn taken_over(history: &mut History, attempts: &impl Fn(&str, &str) -> String) {
    let (first, second) = ((240, 120), (105, 0));
    let both = "{migration_id=\"m3\",tenant_id=\"t3\"}";
    let copied = format!("migration_events_copied_total{both}");
    let bytes = format!("migration_bytes_copied_total{both}");
    history
        .between(A, &copied, first, |at| 1_000.0 + at as f64 * 4_000.0 / 120.0)
        .between(B, &copied, second, |at| 5_000.0 + at as f64 * 3_050.0 / 105.0)
        .between(A, &bytes, first, |_| 5_000.0)
        .between(B, &bytes, second, |_| 3_000.0)
        .between(B, "migration_lease_takeovers_total{migration_id=\"m3\"}", second, |_| 1.0)
        .between(A, &attempts("m3", "started"), first, |_| 1.0)
        .between(A, &attempts("m3", "timed_out"), first, |_| 1.0)
        .between(A, "cutover_timeout_total{migration_id=\"m3\"}", first, |_| 1.0)
        .between(B, "cutover_timeout_total{migration_id=\"m3\"}", second, |_| 1.0)
        .between(B, &attempts("m3", "started"), second, |_| 2.0)
        .between(B, &attempts("m3", "timed_out"), second, |_| 1.0)
        .between(B, &attempts("m3", "succeeded"), second, |_| 1.0);
    let mirrored = |status: &str| {
        format!("dual_write_operations_total{{status=\"{status}\",tenant_id=\"t3\"}}")
    };
    history
        .between(A, &mirrored("success"), first, |_| 30.0)
        .between(B, &mirrored("success"), second, |_| 20.0)
        .between(A, &mirrored("target_failed"), first, |_| 30.0)
        .between(A, "dual_write_target_failures_total{tenant_id=\"t3\"}", first, |_| 30.0);
}

#[test]
fn what_is_short_is_not_missed_and_what_goes_on_elsewhere_is_not_counted_twice() -> Result<()> {
    let prometheus = prometheus(&short("d1").and(&short("d2")))?;
    let panels = panels()?;
    let mut wrong = Vec::new();
    for (dashboard, title, wanted) in SHORT {
        let panel = panels.iter().find(|p| p.dashboard == *dashboard && p.title() == *title);
        wrong.extend(complaint(&prometheus, panel.context("the panel")?, wanted)?);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn with_nothing_that_moves_a_panel_says_nothing_or_why_and_never_no_data() -> Result<()> {
    let prometheus = prometheus(&idle("d1"))?;
    for panel in panels()? {
        let mut answered = false;
        for (expression, _) in panel.queries() {
            let samples = prometheus.query_at(&expression, NOW)?;
            answered |= !samples.is_empty();
            let of_processes = ["Processes", "CPU", "Memory"].contains(&panel.title());
            let zero = samples.iter().all(|sample| sample.value == 0.0);
            ensure!(zero || of_processes, "{}: {samples:?}", panel.title());
        }
        let says = panel.none().is_some_and(|words| !words.is_empty());
        ensure!(answered || says, "{}: {} has no data", panel.dashboard, panel.title());
    }
    Ok(())
}

#[test]
fn variables_and_annotations_are_answered() -> Result<()> {
    let prometheus = prometheus(&busy("d1"))?;
    for dashboard in dashboards()? {
        for variable in dashboard["templating"]["list"].as_array().context("variables")? {
            let query = variable["query"].as_str().context("a query")?;
            let Some(values) = query.strip_prefix("label_values(") else { continue };
            let (series, label) =
                values.trim_end_matches(')').rsplit_once(", ").context("series and label")?;
            let found = prometheus.query_at(&chosen(series), NOW)?;
            let values: BTreeSet<_> = found.iter().map(|sample| sample.label(label)).collect();
            ensure!(!values.is_empty() && !values.contains(""), "{query}: {values:?}");
        }
        for annotation in dashboard["annotations"]["list"].as_array().context("annotations")? {
            let Some(expression) = annotation["expr"].as_str() else { continue };
            prometheus.query_at(&chosen(expression), NOW)?;
        }
    }
    Ok(())
}
