//! The items: the guide's words, and what makes each pass or fail. Pure.

use rehome_api::{ChecklistItem, ItemStatus, Time};
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{CutoverOutcome, Phase};

use super::evidence::{After, Before, Cutover, CuttingOver, During, Scrapes, Verified};
use crate::baseline::Latency;
use crate::tools::{Alert, Asked};

/// The guide's alerts.
const ALERTS: [&str; 6] = [
    "MigrationBulkCopyStuck",
    "MigrationHighSyncLag",
    "MigrationTargetWriteFailures",
    "MigrationCutoverSlow",
    "MigrationFailed",
    "MigrationHighDualWriteLatency",
];
/// What all checklists of a copy end with.
const VERIFIED: &str = "Verification passed";
/// A sample older than this, in seconds, is not of a running scrape.
const SCRAPE_S_MAX: f64 = 60.0;
/// A copy that was still for longer is not increasing; one that was still for less may be.
const STILL_S_MAX: u64 = 60;
/// The guide's bound of the lag, in events.
const LAG_MAX: u64 = 1_000;
/// How much more than the baseline a latency may be, as a factor and in milliseconds: a disk has moods.
const LATENCY_FACTOR: f64 = 1.25;
const LATENCY_SLACK_MS: f64 = 1.0;

type Verdict = (ItemStatus, String);

fn pass(why: impl Into<String>) -> Verdict {
    (ItemStatus::Pass, why.into())
}

fn fail(why: impl Into<String>) -> Verdict {
    (ItemStatus::Fail, why.into())
}

fn unknown(why: impl Into<String>) -> Verdict {
    (ItemStatus::Unknown, why.into())
}

fn items<const N: usize>(items: [(&str, Verdict); N]) -> Vec<ChecklistItem> {
    let item = |(text, (status, why)): (&str, Verdict)| ChecklistItem {
        text: text.to_owned(),
        status,
        why,
    };
    items.into_iter().map(item).collect()
}

/// The verdict on a tool that did not answer.
fn no_answer<T>(asked: &Asked<T>) -> Result<&T, Verdict> {
    match asked {
        Asked::NotConfigured(key) => Err(unknown(format!("monitoring.{key} is not configured"))),
        Asked::Failed(why) => Err(unknown(why.clone())),
        Asked::Answered(answer) => Ok(answer),
    }
}

pub(super) fn before(seen: &Before) -> Vec<ChecklistItem> {
    items([
        ("Prometheus scraping migration metrics", scraping(&seen.scrapes)),
        ("Grafana dashboard accessible", dashboards(seen)),
        ("Alert rules configured", rules(seen)),
        ("Log aggregation working", aggregation(seen)),
        ("Baseline metrics captured (normal operation)", captured(seen)),
    ])
}

fn scraping(scrapes: &Scrapes) -> Verdict {
    let process = if scrapes.this_process { "this process" } else { "rehome" };
    let mut said = Vec::new();
    let asked =
        [(process, Some(&scrapes.of_process)), ("this migration", scrapes.of_migration.as_ref())];
    for (what, age) in asked {
        match age {
            None => {}
            Some(Asked::Answered(Some(age))) if *age <= SCRAPE_S_MAX => {
                said.push(format!("a sample of {what} that is {age:.0} s old"));
            }
            Some(Asked::Answered(Some(age))) => {
                return fail(format!("Prometheus's last sample of {what} is {age:.0} s old"));
            }
            Some(Asked::Answered(None)) => {
                return fail(format!(
                    "Prometheus has no sample of {what}; add the /metrics of each server to its scrape \
                     configuration"
                ));
            }
            Some(Asked::Failed(why)) => return fail(why.clone()),
            Some(Asked::NotConfigured(key)) => {
                // Any client can read metrics; that is no evidence of a Prometheus.
                let read = match scrapes.read.map(|ago| ago.as_secs()) {
                    Some(ago) => format!("the metrics of this process were last read {ago} s ago"),
                    None => "the metrics of this process were never read".to_owned(),
                };
                return unknown(format!("monitoring.{key} is not configured; {read}"));
            }
        }
    }
    pass(format!("Prometheus has {}", said.join(" and ")))
}

fn dashboards(seen: &Before) -> Verdict {
    match no_answer(&seen.dashboards) {
        Err((_, why)) if matches!(seen.dashboards, Asked::Failed(_)) => fail(why),
        Err(verdict) => verdict,
        Ok(None) => unknown(
            "Grafana is up, but requires a login for its dashboards; put USER:PASSWORD@ into \
             monitoring.grafana_url",
        ),
        Ok(Some(missing)) if missing.is_empty() => pass("Grafana has the dashboards"),
        Ok(Some(missing)) => fail(format!("Grafana has no dashboard {}", missing.join(", "))),
    }
}

fn rules(seen: &Before) -> Verdict {
    let loaded = match no_answer(&seen.rules) {
        Ok(loaded) => loaded,
        Err(verdict) => return verdict,
    };
    let is_loaded = |name: &&str| loaded.iter().any(|rule| rule.name == *name);
    let missing: Vec<_> = ALERTS.into_iter().filter(|name| !is_loaded(name)).collect();
    let broken: Vec<_> = loaded
        .iter()
        .filter(|rule| !rule.healthy && rule.name.starts_with("Migration"))
        .map(|rule| rule.name.as_str())
        .collect();
    match (missing.is_empty(), broken.is_empty()) {
        (true, true) => pass("Prometheus has loaded the six rules"),
        (false, _) => fail(format!("Prometheus has not loaded {}", missing.join(", "))),
        (true, false) => fail(format!("Prometheus cannot evaluate {}", broken.join(", "))),
    }
}

fn aggregation(seen: &Before) -> Verdict {
    match (no_answer(&seen.lines), seen.line_expected) {
        (Err((_, why)), _) if matches!(seen.lines, Asked::Failed(_)) => fail(why),
        (Err(verdict), _) => verdict,
        (Ok(0), true) => fail("the migration was started, but its log lines did not arrive"),
        (Ok(0), false) => {
            unknown("no log line has arrived within a day; possibly none was written")
        }
        (Ok(lines), _) => pass(format!("{lines} log lines have arrived")),
    }
}

fn captured(seen: &Before) -> Verdict {
    let Some(baseline) = &seen.baseline else {
        return if seen.line_expected {
            fail("there is none; `rehome migration baseline ID` records one")
        } else {
            unknown("it is recorded when a migration starts")
        };
    };
    let rate = baseline.events_per_s;
    let at = baseline.taken_at;
    if let Some(p99) = baseline.append_p99_ms {
        let remark = baseline.remark.as_deref().map(|remark| format!("; {remark}"));
        let remark = remark.unwrap_or_default();
        return pass(format!("{rate} events/s, p99 {p99} ms, at {at}{remark}"));
    }
    let remark = baseline.remark.as_deref().unwrap_or("the append latency is unknown");
    unknown(format!("{rate} events/s, at {at}; {remark}"))
}

pub(super) fn during(seen: &During) -> Vec<ChecklistItem> {
    items([
        ("Progress metric increasing (bulk copy)", progress(seen)),
        ("Sync lag acceptable (dual-write)", lag(seen)),
        ("No target write failures", failures(seen)),
        ("Latency within SLA", within_sla(&seen.latency, seen.latency_max_ms)),
        ("No alerts firing", calm(seen.violated.as_ref(), &seen.alerts, seen.id, seen.tenant)),
    ])
}

fn progress(seen: &During) -> Verdict {
    match (seen.phase, &seen.copying) {
        (Phase::BulkCopy, Some(copying)) => {
            let still = copying.still.as_secs();
            if copying.grown > 0 {
                pass(format!("{} events were copied between two reads", copying.grown))
            } else if still < STILL_S_MAX {
                pass(format!("the target last made progress {still} s ago"))
            } else {
                fail(format!("the target has made no progress for {still} s"))
            }
        }
        (Phase::BulkCopy, None) => unknown("a store does not answer"),
        (Phase::Pending, _) => unknown("is pending: nothing is copied yet"),
        (Phase::Paused, _) => unknown("is paused"),
        (Phase::Failed | Phase::RolledBack, _) => fail(format!("is {}", seen.phase)),
        (Phase::DualWrite | Phase::CutoverPaused | Phase::Migrated, _) => {
            pass("the history is copied")
        }
    }
}

fn lag(seen: &During) -> Verdict {
    match (seen.phase, &seen.lag) {
        (Phase::DualWrite | Phase::CutoverPaused, Err(why)) => unknown(why.clone()),
        (Phase::DualWrite | Phase::CutoverPaused, Ok(lag)) if *lag > LAG_MAX => {
            fail(format!("the target is {lag} events behind, more than {LAG_MAX}"))
        }
        (Phase::DualWrite | Phase::CutoverPaused, Ok(lag)) => {
            pass(format!("the target is {lag} events behind"))
        }
        (Phase::Migrated, _) => pass("is migrated: there is no lag"),
        (phase, _) => unknown(format!("is {phase}: writes are not mirrored")),
    }
}

fn failures(seen: &During) -> Verdict {
    let mirrored = seen.mirrored;
    match (mirrored.attempted, mirrored.failed) {
        (0, _) => pass("there was nothing to mirror in the last 5 minutes"),
        (attempted, 0) => pass(format!("none of {attempted} in the last 5 minutes")),
        (attempted, failed) => fail(format!("{failed} of {attempted} in the last 5 minutes")),
    }
}

fn within_sla(latency: &Result<Latency, String>, max_ms: u32) -> Verdict {
    match latency {
        Err(why) => unknown(why.clone()),
        Ok(latency) => {
            let said = format!(
                "p99 of the appends is {} ms by {}; at most {max_ms} ms are allowed \
                 (monitoring.latency_p99_max_ms)",
                latency.p99_ms, latency.from
            );
            if latency.p99_ms <= f64::from(max_ms) { pass(said) } else { fail(said) }
        }
    }
}

/// No alert fires, and nothing is open that one fires for: that is known without the tools.
fn calm(
    violated: Option<&String>,
    alerts: &Asked<Vec<Alert>>,
    id: MigrationId,
    tenant: TenantId,
) -> Verdict {
    match violated {
        Some(what) => fail(what.clone()),
        None => quiet(alerts, id, tenant),
    }
}

fn quiet(alerts: &Asked<Vec<Alert>>, id: MigrationId, tenant: TenantId) -> Verdict {
    let firing = match no_answer(alerts) {
        Ok(firing) => firing,
        Err(verdict) => return verdict,
    };
    let ours = firing.iter().filter(|alert| alert.concerns(id, tenant));
    let mut names: Vec<_> = ours.map(|alert| alert.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        pass("none that concerns the migration")
    } else {
        fail(format!("firing: {}", names.join(", ")))
    }
}

pub(super) fn cutover(seen: &CuttingOver) -> Vec<ChecklistItem> {
    let last = seen.cutovers.last();
    items([
        ("Watch cutover_pause_duration closely", pause(&seen.cutovers)),
        ("Monitor blocked_writers count", blocked(seen)),
        ("Verify cutover completes < timeout", in_time(last)),
        ("Check no errors in logs", errors(seen)),
        (VERIFIED, verified(seen.verified)),
    ])
}

fn pause(cutovers: &[Cutover]) -> Verdict {
    let Some(last) = cutovers.last() else { return unknown("there has been no cutover yet") };
    let pause = written(last.pause);
    let said = match last.end {
        None => format!("writers have waited for {pause} so far"),
        _ => format!("{pause}, the last of {}", cutovers.len()),
    };
    if last.pause <= last.deadline {
        pass(said)
    } else {
        fail(format!("{said}; {} were allowed", written(last.deadline)))
    }
}

fn blocked(seen: &CuttingOver) -> Verdict {
    let under_way = seen.cutovers.last().is_some_and(|last| last.end.is_none());
    let (writers, who) = match (&seen.blocked_anywhere, seen.blocked_here) {
        (Asked::Answered(Some(writers)), _) => (*writers, "in all processes, by Prometheus"),
        (_, Some(writers)) => (writers as f64, "in this process"),
        (Asked::NotConfigured(key), None) => {
            return unknown(format!(
                "monitoring.{key} is not configured, and no writer of the tenant is in this process"
            ));
        }
        (Asked::Failed(why), None) => return unknown(why.clone()),
        (Asked::Answered(None), None) => return unknown("Prometheus has no such series"),
    };
    let said = format!("{writers} writers wait {who}");
    if writers > 0.0 && !under_way {
        fail(format!("{said}, but no cutover is running"))
    } else {
        pass(said)
    }
}

fn in_time(last: Option<&Cutover>) -> Verdict {
    let Some(last) = last else { return unknown("there has been no cutover yet") };
    let (pause, max) = (written(last.pause), written(last.deadline));
    match last.end {
        Some(CutoverOutcome::Succeeded) => pass(format!("switched after {pause} of at most {max}")),
        Some(CutoverOutcome::TimedOut) => fail(format!("rolled back: its {max} had passed")),
        Some(CutoverOutcome::RolledBack) => fail(format!("rolled back after {pause}")),
        None if last.pause > last.deadline => {
            fail(format!("running for {pause}; {max} were allowed"))
        }
        None => unknown(format!("running for {pause} of at most {max}")),
    }
}

fn written(pause: std::time::Duration) -> String {
    rehome_api::duration::pause(pause.as_secs_f64() * 1e3)
}

fn errors(seen: &CuttingOver) -> Verdict {
    if !seen.failures.is_empty() {
        return fail(format!("by the migration's own log: {}", seen.failures.join("; ")));
    }
    match no_answer(&seen.errors) {
        Err((status, why)) => (status, format!("{why}; the migration's own log has no failure")),
        Ok(0) => pass("no line of level ERROR, and the migration's own log has no failure"),
        Ok(lines) => fail(format!("{lines} lines of level ERROR")),
    }
}

pub(super) fn after(seen: &After) -> Vec<ChecklistItem> {
    items([
        ("Migration state is MIGRATED", migrated(seen.phase)),
        ("No active alerts", calm(seen.violated.as_ref(), &seen.alerts, seen.id, seen.tenant)),
        ("Tenant reads/writes working", working(seen)),
        ("Latency back to baseline", back_to_baseline(seen)),
        ("Clean up monitoring for completed migration", cleaned_up(seen)),
        (VERIFIED, verified(seen.verified)),
    ])
}

fn verified(last: Option<Verified>) -> Verdict {
    let Some(Verified { level, seq, violations, at }) = last else {
        return unknown("nothing has been verified yet; run `rehome migration verify ID`");
    };
    let (level, at) = (level.as_str(), Time(at.micros()));
    if violations == 0 {
        pass(format!("level {level} up to event {seq} found no violation, at {at}"))
    } else {
        fail(format!("level {level} up to event {seq} found {violations} violations, at {at}"))
    }
}

fn migrated(phase: Phase) -> Verdict {
    if phase == Phase::Migrated { pass("is migrated") } else { fail(format!("is {phase}")) }
}

fn working(seen: &After) -> Verdict {
    match (&seen.read, &seen.writable) {
        (Err(why), _) => fail(format!("a read failed: {why}")),
        (_, Err(why)) => fail(why.clone()),
        (Ok(seq), Ok(store)) => pass(format!(
            "a read through the router returned event {seq}; {store} accepts the tenant's writes"
        )),
    }
}

fn back_to_baseline(seen: &After) -> Verdict {
    let before = seen.baseline.as_ref().and_then(|baseline| baseline.append_p99_ms);
    let Some(before) = before else {
        return unknown("no append latency was captured before the migration");
    };
    match &seen.latency {
        Err(why) => unknown(format!("before: p99 {before} ms; now: {why}")),
        Ok(latency) => {
            let now = latency.p99_ms;
            let said = format!("p99 is {now} ms by {} and was {before} ms", latency.from);
            let max = (before * LATENCY_FACTOR).max(before + LATENCY_SLACK_MS);
            if now <= max { pass(said) } else { fail(said) }
        }
    }
}

fn cleaned_up(seen: &After) -> Verdict {
    let Some(over_for) = seen.over_for else {
        return fail("has not ended: its series are still needed");
    };
    let alerts = quiet(&seen.alerts, seen.id, seen.tenant);
    if alerts.0 == ItemStatus::Fail {
        return alerts;
    }
    let left = seen.retention.saturating_sub(over_for).as_secs();
    match no_answer(&seen.series) {
        Ok(None) => pass("Prometheus no longer scrapes series of the migration"),
        Ok(Some(_)) if left > 0 => fail(format!("its series stay for another {left} s")),
        Ok(Some(age)) => fail(format!("Prometheus still has its series, {age:.0} s old")),
        Err((_, why)) => unknown(why),
    }
}
