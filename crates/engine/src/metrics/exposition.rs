//! From the registry to series: in OpenMetrics, or as samples for other formats.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::Phase;
use tokio::time::Instant;

use super::Surroundings;
use super::families as f;
use super::out::{Out, Sample};
use super::tracker::{Attempt, Entry, LEVELS, Reporter, Tracker, VIOLATION_TYPES};
use crate::appends::{Appends, Meter, Outcome};
use crate::histogram::Histogram;

/// The label of tenants that are not counted separately.
const OTHER: &str = "other";

/// All series, in OpenMetrics.
pub(super) fn write(
    tracker: Tracker,
    appends: &Arc<Appends>,
    around: &Surroundings,
    now: Timestamp,
) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scene::new(tracker, appends, around, now)));
    let mut series = String::new();
    text::encode(&mut series, &registry).expect("a string takes all that is written to it");
    series
}

/// The same series, one by one.
pub(super) fn samples(
    tracker: Tracker,
    appends: &Arc<Appends>,
    around: &Surroundings,
    now: Timestamp,
) -> Vec<Sample> {
    let mut out = Out::Samples(Vec::new());
    let written = Scene::new(tracker, appends, around, now).tell(&mut out);
    written.expect("a list takes all that is added to it");
    out.into_samples()
}

/// Everything that is exported at one moment.
struct Scene {
    tracker: Tracker,
    /// Of the tracker's entries, in their order.
    names: Vec<Names>,
    meters: Vec<Named>,
    appends: Arc<Appends>,
    around: Surroundings,
    now: Timestamp,
}

/// A tenant's appends.
struct Named {
    tenant: String,
    /// The migration whose cutover they wait for.
    cutover: Option<MigrationId>,
    meter: Arc<Meter>,
}

/// The labels of a migration.
struct Names {
    id: String,
    tenant: String,
}

impl Names {
    fn both(&self) -> [&str; 2] {
        [&self.id, &self.tenant]
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Collector for Scene {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.tell(&mut Out::Text(encoder))
    }
}

impl Scene {
    fn new(
        tracker: Tracker,
        appends: &Arc<Appends>,
        around: &Surroundings,
        now: Timestamp,
    ) -> Self {
        let name = |entry: &Entry| Names {
            id: entry.migration.id.to_string(),
            tenant: entry.migration.tenant.to_string(),
        };
        let names = tracker.entries().map(name).collect();
        let mut meters = appends.tenants();
        meters.sort_by_key(|(tenant, _)| *tenant);
        let named = |(tenant, meter): (TenantId, _)| Named {
            tenant: tenant.to_string(),
            cutover: appends.cutover(tenant),
            meter,
        };
        let meters = meters.into_iter().map(named).collect();
        let (appends, around) = (Arc::clone(appends), around.clone());
        Self { tracker, names, meters, appends, around, now }
    }

    fn tell(&self, out: &mut Out<'_>) -> fmt::Result {
        self.progress(out)?;
        self.work(out)?;
        self.dual_write(out)?;
        self.cutover(out)?;
        self.consistency(out)?;
        super::drains::tell(&self.around.drains, out)?;
        self.appends(out)?;
        self.process(out)
    }

    fn entries(&self) -> impl Iterator<Item = (&Names, &Entry)> {
        self.names.iter().zip(self.tracker.entries())
    }

    /// Those of which more is exported than how they ended.
    fn full(&self) -> impl Iterator<Item = (&Names, &Entry)> {
        self.entries().filter(|(_, entry)| !entry.is_brief)
    }

    /// Those whose state this process exports.
    fn reported(&self) -> impl Iterator<Item = (&Names, &Entry)> {
        self.full().filter(|(_, entry)| entry.is_reported())
    }

    /// The migrations with cutovers and verifications to report: from the dual write on,
    /// also with 0; if another process drives, only what happened here.
    fn counted(&self, here: fn(&Entry) -> bool) -> impl Iterator<Item = (&Names, &Entry)> {
        self.entries().filter(move |(_, e)| e.is_counted() && e.has_mirrored() || here(e))
    }

    fn progress(&self, out: &mut Out<'_>) -> fmt::Result {
        let state = |entry: &Entry| f64::from(entry.phase() as u8);
        let all = self.entries().filter(|(_, entry)| entry.is_reported());
        out.write(f::STATE, all.map(|(n, e)| (n.both(), state(e))))?;
        let reached = || self.reported().filter_map(|(n, e)| e.reached.map(|r| (n.both(), r)));
        out.write(f::PERCENT, reached().map(|(both, r)| (both, r.percent())))?;
        out.write(f::COPIED, reached().map(|(both, r)| (both, r.copied() as f64)))?;
        out.write(f::TOTAL, reached().map(|(both, r)| (both, r.source_seq as f64)))?;
        let durations = self.reported().flat_map(|(n, e)| {
            let durations = e.durations(self.now).into_iter();
            durations.map(|(phase, seconds)| ([&*n.id, phase.as_str()], seconds))
        });
        out.write(f::DURATION, durations)?;
        let info = self.reported().map(|(n, e)| {
            let (source, target) = (e.migration.source.as_str(), e.migration.target.as_str());
            ([&*n.id, &*n.tenant, source, target], 1.0)
        });
        out.write(f::INFO, info)
    }

    fn work(&self, out: &mut Out<'_>) -> fmt::Result {
        let here = || self.full().filter(|(_, e)| e.reporter == Reporter::Here || e.bytes > 0);
        out.write(f::BYTES, here().map(|(n, e)| (n.both(), e.bytes as f64)))?;
        out.write(f::THROTTLE, here().map(|(n, e)| (n.both(), e.throttled.as_secs_f64())))?;
        let speed = self.full().filter_map(|(n, e)| {
            let works = e.reporter == Reporter::Here
                && matches!(e.phase(), Phase::BulkCopy | Phase::DualWrite | Phase::CutoverPaused);
            Some((n.both(), f64::from(e.speed.filter(|_| works)?)))
        });
        out.write(f::SPEED, speed)?;
        let slowed = self.full().flat_map(|(n, e)| {
            e.slowed().map(|(why, lasted)| ([&*n.id, why.as_str()], lasted.as_secs_f64()))
        });
        out.write(f::SLOWED, slowed)?;
        let last = |entry: &Entry| entry.last_progress.micros() as f64 / 1e6;
        out.write(f::LAST_PROGRESS, self.reported().map(|(n, e)| (n.both(), last(e))))?;
        let since = |entry: &Entry| entry.since().micros() as f64 / 1e6;
        out.write(f::SINCE, self.reported().map(|(n, e)| (n.both(), since(e))))?;
        let unread = self.reported().filter_map(|(n, e)| {
            let (reached, read) = (e.reached?, e.read_back_seq?);
            Some((n.both(), reached.target_seq.saturating_sub(read) as f64))
        });
        out.write(f::READ_BACK_LAG, unread)?;
        let counted = |count: fn(&Entry) -> u64| {
            let worth = move |(_, e): &(&Names, &Entry)| e.is_counted() || count(e) > 0;
            self.entries().filter(worth).map(move |(n, e)| ([&*n.id], count(e) as f64))
        };
        out.write(f::TAKEOVERS, counted(|e| e.takeovers))?;
        out.write(f::LEASE_LOST, counted(|e| e.lost))?;
        let unattended = |entry: &Entry| f64::from(u8::from(entry.is_unattended()));
        out.write(f::UNATTENDED, self.reported().map(|(n, e)| (n.both(), unattended(e))))?;
        let without = self.tracker.crowded_out() as f64;
        out.write(f::CROWDED_OUT, [([], without)].into_iter())?;
        let unpublished = |entry: &Entry| f64::from(u8::from(entry.is_unpublished()));
        out.write(f::UNPUBLISHED, self.reported().map(|(n, e)| (n.both(), unpublished(e))))?;
        out.write(f::RETRIES, counted(|e| e.retries))?;
        let windows: Vec<_> = self
            .tracker
            .windows()
            .into_iter()
            .map(|(e, lag)| (e.migration.id.to_string(), e.migration.tenant.to_string(), lag))
            .collect();
        let windows = windows.iter().map(|(id, tenant, lag)| ([&**id, &**tenant], *lag as f64));
        out.write(f::WINDOW_LAG, windows)
    }

    fn dual_write(&self, out: &mut Out<'_>) -> fmt::Result {
        let tenants: Vec<_> =
            self.tracker.dual_writes().map(|(tenant, work)| (tenant.to_string(), work)).collect();
        let operations = tenants.iter().flat_map(|(tenant, work)| {
            let by_status = [("success", work.succeeded), ("target_failed", work.failed)];
            by_status.map(|(status, events)| ([&**tenant, status], events as f64))
        });
        out.write(f::OPERATIONS, operations)?;
        let failures = tenants.iter().map(|(tenant, work)| ([&**tenant], work.failed as f64));
        out.write(f::TARGET_FAILURES, failures)?;
        let latency = tenants.iter().map(|(t, work)| ([&**t], work.latency.snapshot()));
        out.write_histograms(f::MIRROR_LATENCY, latency)?;
        let lag = self.reported().filter_map(|(n, e)| {
            let applies = matches!(e.phase(), Phase::DualWrite | Phase::CutoverPaused);
            let reached = e.reached.filter(|_| applies)?;
            Some(([&*n.tenant], reached.lag() as f64))
        });
        out.write(f::SYNC_LAG, lag)?;
        let age = self.reported().filter_map(|(n, e)| {
            let applies = matches!(e.phase(), Phase::DualWrite | Phase::CutoverPaused);
            let micros = self.now.micros().saturating_sub(e.source_read.micros()).max(0);
            applies.then(|| ([&*n.tenant], micros as f64 / 1e6))
        });
        out.write(f::SYNC_LAG_AGE, age)
    }

    fn cutover(&self, out: &mut Out<'_>) -> fmt::Result {
        let pauses = self.counted(|e| !e.is_brief && e.pause().count() > 0);
        let pauses = pauses.map(|(n, e)| ([&*n.id], e.pause()));
        out.write_histograms(f::PAUSE, pauses)?;
        out.write(f::BLOCKED, self.blocked().iter().map(|(id, n)| ([&**id], *n as f64)))?;
        let attempts = self.entries().flat_map(|(n, e)| {
            let is_reported = e.is_counted() && e.has_mirrored();
            Attempt::ALL.into_iter().filter_map(move |attempt| {
                let times = e.attempts(attempt);
                let went_wrong = !matches!(attempt, Attempt::Started | Attempt::Succeeded);
                (is_reported || times > 0 && (went_wrong || !e.is_brief))
                    .then(|| ([&*n.id, attempt.as_str()], times as f64))
            })
        });
        out.write(f::ATTEMPTS, attempts)?;
        let timeouts = self.counted(|e| e.attempts(Attempt::TimedOut) > 0);
        let timeouts = timeouts.map(|(n, e)| ([&*n.id], e.attempts(Attempt::TimedOut) as f64));
        out.write(f::TIMEOUTS, timeouts)
    }

    /// Appends that wait in this process, by the migration whose cutover they wait for.
    fn blocked(&self) -> Vec<(String, u64)> {
        let waiting = |id| {
            let waits = self.meters.iter().filter(|meter| meter.cutover == Some(id));
            waits.filter_map(|meter| meter.meter.waiting()).map(|waiting| waiting.appends).sum()
        };
        let known = self.full().filter(|(_, e)| e.has_mirrored()).map(|(n, e)| {
            let appends = waiting(e.migration.id);
            (n.id.clone(), appends)
        });
        let mut blocked: Vec<_> = known.collect();
        // Another process drives it: reported while an append waits here, and as 0 until it ends.
        for named in &self.meters {
            let Some(id) = named.cutover.or_else(|| named.meter.blocked_by()) else { continue };
            let name = id.to_string();
            let waits = named.meter.waiting().is_some();
            if waits && blocked.iter().all(|(known, _)| *known != name) {
                blocked.push((name, waiting(id)));
            }
        }
        blocked
    }

    fn consistency(&self, out: &mut Out<'_>) -> fmt::Result {
        let verifications = self.full().flat_map(|(n, e)| {
            LEVELS.into_iter().filter_map(move |level| {
                let due = e.is_reported() && e.has_mirrored() && e.has_to_pass(level);
                let counted = match e.verification(level) {
                    Some(histogram) => histogram.snapshot(),
                    None if due => Histogram::new(f::VERIFICATION_BUCKETS).snapshot(),
                    None => return None,
                };
                Some(([&*n.id, level.as_str()], counted))
            })
        });
        out.write_histograms(f::VERIFICATION, verifications)?;
        let violations = self.entries().flat_map(|(n, e)| {
            let is_reported = e.is_counted() && e.has_mirrored();
            VIOLATION_TYPES.into_iter().filter_map(move |kind| {
                let times = e.violations(kind);
                (is_reported || times > 0).then(|| ([&*n.id, kind.as_str()], times as f64))
            })
        });
        out.write(f::VIOLATIONS, violations)?;
        let checked = self.counted(|e| !e.is_brief && e.checked > 0);
        let looked = || self.counted(Entry::has_findings_to_report);
        out.write(f::CHECKED, checked.map(|(n, e)| ([&*n.id], e.checked as f64)))?;
        out.write(f::OPEN_VIOLATIONS, looked().map(|(n, e)| ([&*n.id], e.open_violations as f64)))
    }

    fn appends(&self, out: &mut Out<'_>) -> fmt::Result {
        let others = [(OTHER, self.appends.others())];
        let meters = || self.meters.iter().map(|n| (&*n.tenant, &*n.meter)).chain(others);
        let durations = meters().flat_map(|(tenant, meter)| {
            Outcome::ALL.into_iter().filter_map(move |outcome| {
                let counted = meter.durations(outcome).snapshot();
                let is_reported = counted.count() > 0 || outcome == Outcome::Ok && tenant != OTHER;
                is_reported.then(|| ([tenant, outcome.as_str()], counted))
            })
        });
        out.write_histograms(f::APPENDS, durations)?;
        let instant = Instant::now();
        let seconds = |time: Option<Duration>| time.map_or(0.0, |time| time.as_secs_f64());
        let waits = self.meters.iter().map(|named| {
            let waited = named.meter.waiting().map(|waiting| instant - waiting.since);
            ([&*named.tenant], seconds(waited))
        });
        out.write(f::LONGEST_WAIT, waits)?;
        let blocked = self.meters.iter().map(|n| ([&*n.tenant], seconds(n.meter.blocked_for())));
        out.write(f::APPENDS_BLOCKED, blocked)?;
        out.write(f::FENCED, meters().map(|(tenant, meter)| ([tenant], meter.fenced() as f64)))?;
        out.write(f::REFRESHES, [([], self.appends.refreshes() as f64)].into_iter())
    }

    fn process(&self, out: &mut Out<'_>) -> fmt::Result {
        let around = &self.around;
        let up = |up: bool| f64::from(u8::from(up));
        out.write(f::STORE_UP, around.stores.iter().map(|(id, is)| ([&**id], up(*is))))?;
        let checked = || around.checked.iter();
        let events = checked().map(|one| ([&*one.store], one.events as f64));
        out.write(f::STORE_CHECKED, events)?;
        // A process that has not verified a store completely does not report it as intact.
        let judged = checked().filter(|one| one.damaged > 0 || one.whole_at > 0.0);
        out.write(f::STORE_DAMAGED, judged.map(|one| ([&*one.store], one.damaged as f64)))?;
        out.write(f::STORE_VERIFIED, checked().map(|one| ([&*one.store], one.whole_at)))?;
        let still = around.removals_still.into_iter();
        out.write(f::REMOVALS_STILL, still.map(|n| ([], n as f64)))?;
        out.write(f::CONTROL_UP, around.control_plane.into_iter().map(|is| ([], up(is))))?;
        self.front(out)?;
        let looked = self.tracker.looked.map(|looked| ([], looked.micros() as f64 / 1e6));
        out.write(f::LOOKED, looked.into_iter())?;
        out.write(f::BUILD, [([&*around.version], 1.0)].into_iter())?;
        out.write(f::PROCESS, [([&*around.process], 1.0)].into_iter())?;
        out.write(f::CPU, [([], around.cpu_seconds)].into_iter())?;
        out.write(f::RESIDENT, [([], around.resident_bytes as f64)].into_iter())?;
        out.write(f::STARTED, [([], around.started)].into_iter())
    }
}

impl Scene {
    fn front(&self, out: &mut Out<'_>) -> fmt::Result {
        let front = &self.around.front;
        let rooms = || front.rooms.iter();
        out.write(f::ROOM_USED, rooms().map(|room| ([room.room], room.used as f64)))?;
        out.write(f::ROOM_SIZE, rooms().map(|room| ([room.room], room.size as f64)))?;
        let refused = rooms().flat_map(|room| {
            let bounds = [("share", room.refused_share), ("size", room.refused_all)];
            bounds.map(|(bound, times)| ([room.room, bound], times as f64))
        });
        out.write(f::ROOM_REFUSED, refused)?;
        // A process without a server has no rooms and no slow clients.
        let slow = [("answer", front.slow_answers), ("body", front.slow_bodies)];
        let slow = slow.into_iter().filter(|_| !front.rooms.is_empty());
        out.write(f::SLOW_CLIENTS, slow.map(|(direction, n)| ([direction], n as f64)))
    }
}
