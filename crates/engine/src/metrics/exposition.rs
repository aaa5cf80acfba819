//! From the book to series, in OpenMetrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::Phase;
use tokio::time::Instant;

use super::Surroundings;
use super::book::{Attempt, Book, Entry, LEVELS, Told, VIOLATION_TYPES};
use super::families::{self as f, Family, Kind};
use crate::appends::{Appends, Meter, Outcome};
use crate::histogram::{Histogram, Snapshot};

/// The label of what is not counted by tenant.
const OTHER: &str = "other";

/// All series, in OpenMetrics.
pub(super) fn write(
    book: Book,
    appends: &Arc<Appends>,
    around: &Surroundings,
    now: Timestamp,
) -> String {
    let name = |entry: &Entry| Names {
        id: entry.migration.id.to_string(),
        tenant: entry.migration.tenant.to_string(),
    };
    let names = book.entries().map(name).collect();
    let mut meters = appends.tenants();
    meters.sort_by_key(|(tenant, _)| *tenant);
    let named = |(tenant, meter): (TenantId, _)| Named {
        tenant: tenant.to_string(),
        cutover: appends.cutover(tenant),
        meter,
    };
    let meters = meters.into_iter().map(named).collect();
    let (appends, around) = (Arc::clone(appends), around.clone());
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scene { book, names, meters, appends, around, now }));
    let mut series = String::new();
    text::encode(&mut series, &registry).expect("a string takes all that is written to it");
    series
}

/// Everything that is told at one moment.
struct Scene {
    book: Book,
    /// Of the book's entries, in their order.
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
        let mut out = Out(encoder);
        self.progress(&mut out)?;
        self.work(&mut out)?;
        self.dual_write(&mut out)?;
        self.cutover(&mut out)?;
        self.consistency(&mut out)?;
        self.appends(&mut out)?;
        self.process(&mut out)
    }
}

impl Scene {
    fn entries(&self) -> impl Iterator<Item = (&Names, &Entry)> {
        self.names.iter().zip(self.book.entries())
    }

    /// Those that this process tells where they stand.
    fn told(&self) -> impl Iterator<Item = (&Names, &Entry)> {
        self.entries().filter(|(_, entry)| entry.is_told())
    }

    /// Those of whose cutovers and verifications there is something to tell: from the dual write on,
    /// also that there was none; where another process drives, what happened here.
    fn counted(&self, here: fn(&Entry) -> bool) -> impl Iterator<Item = (&Names, &Entry)> {
        self.entries().filter(move |(_, e)| e.is_counted() && e.has_mirrored() || here(e))
    }

    fn progress(&self, out: &mut Out<'_>) -> fmt::Result {
        let state = |entry: &Entry| f64::from(entry.phase() as u8);
        out.write(f::STATE, self.told().map(|(n, e)| (n.both(), state(e))))?;
        let reached = || self.told().filter_map(|(n, e)| e.reached.map(|r| (n.both(), r)));
        out.write(f::PERCENT, reached().map(|(both, r)| (both, r.percent())))?;
        out.write(f::COPIED, reached().map(|(both, r)| (both, r.copied() as f64)))?;
        out.write(f::TOTAL, reached().map(|(both, r)| (both, r.source_seq as f64)))?;
        let durations = self.told().flat_map(|(n, e)| {
            let durations = e.durations(self.now).into_iter();
            durations.map(|(phase, seconds)| ([&*n.id, phase.as_str()], seconds))
        });
        out.write(f::DURATION, durations)?;
        let info = self.told().map(|(n, e)| {
            let (source, target) = (e.migration.source.as_str(), e.migration.target.as_str());
            ([&*n.id, &*n.tenant, source, target], 1.0)
        });
        out.write(f::INFO, info)
    }

    fn work(&self, out: &mut Out<'_>) -> fmt::Result {
        let here = || self.entries().filter(|(_, e)| e.told == Told::Here || e.bytes > 0);
        out.write(f::BYTES, here().map(|(n, e)| (n.both(), e.bytes as f64)))?;
        out.write(f::THROTTLE, here().map(|(n, e)| (n.both(), e.throttled.as_secs_f64())))?;
        let last = |entry: &Entry| entry.last_progress.micros() as f64 / 1e6;
        out.write(f::LAST_PROGRESS, self.told().map(|(n, e)| (n.both(), last(e))))?;
        let since = |entry: &Entry| entry.since().micros() as f64 / 1e6;
        out.write(f::SINCE, self.told().map(|(n, e)| (n.both(), since(e))))?;
        let unread = self.told().filter_map(|(n, e)| {
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
        out.write(f::UNATTENDED, self.told().map(|(n, e)| (n.both(), unattended(e))))?;
        let unpublished = |entry: &Entry| f64::from(u8::from(entry.is_unpublished()));
        out.write(f::UNPUBLISHED, self.told().map(|(n, e)| (n.both(), unpublished(e))))?;
        out.write(f::RETRIES, counted(|e| e.retries))?;
        let windows: Vec<_> = self
            .book
            .windows()
            .map(|(e, lag)| (e.migration.id.to_string(), e.migration.tenant.to_string(), lag))
            .collect();
        let windows = windows.iter().map(|(id, tenant, lag)| ([&**id, &**tenant], *lag as f64));
        out.write(f::WINDOW_LAG, windows)
    }

    fn dual_write(&self, out: &mut Out<'_>) -> fmt::Result {
        let tenants: Vec<_> =
            self.book.dual_writes().map(|(tenant, work)| (tenant.to_string(), work)).collect();
        let operations = tenants.iter().flat_map(|(tenant, work)| {
            let by_status = [("success", work.succeeded), ("target_failed", work.failed)];
            by_status.map(|(status, events)| ([&**tenant, status], events as f64))
        });
        out.write(f::OPERATIONS, operations)?;
        let failures = tenants.iter().map(|(tenant, work)| ([&**tenant], work.failed as f64));
        out.write(f::TARGET_FAILURES, failures)?;
        let latency = tenants.iter().map(|(t, work)| ([&**t], work.latency.snapshot()));
        out.write_histograms(f::MIRROR_LATENCY, latency)?;
        let lag = self.told().filter_map(|(n, e)| {
            let applies = matches!(e.phase(), Phase::DualWrite | Phase::CutoverPaused);
            let reached = e.reached.filter(|_| applies)?;
            Some(([&*n.tenant], reached.lag() as f64))
        });
        out.write(f::SYNC_LAG, lag)?;
        let age = self.told().filter_map(|(n, e)| {
            let applies = matches!(e.phase(), Phase::DualWrite | Phase::CutoverPaused);
            let micros = self.now.micros().saturating_sub(e.source_read.micros()).max(0);
            applies.then(|| ([&*n.tenant], micros as f64 / 1e6))
        });
        out.write(f::SYNC_LAG_AGE, age)
    }

    fn cutover(&self, out: &mut Out<'_>) -> fmt::Result {
        let pauses = self.counted(|e| e.pause().count() > 0);
        let pauses = pauses.map(|(n, e)| ([&*n.id], e.pause()));
        out.write_histograms(f::PAUSE, pauses)?;
        out.write(f::BLOCKED, self.blocked().iter().map(|(id, n)| ([&**id], *n as f64)))?;
        let attempts = self.entries().flat_map(|(n, e)| {
            let told = e.is_counted() && e.has_mirrored();
            Attempt::ALL.into_iter().filter_map(move |attempt| {
                let times = e.attempts(attempt);
                (told || times > 0).then(|| ([&*n.id, attempt.as_str()], times as f64))
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
        let known = self.entries().filter(|(_, e)| e.has_mirrored()).map(|(n, e)| {
            let appends = waiting(e.migration.id);
            (n.id.clone(), appends)
        });
        let mut blocked: Vec<_> = known.collect();
        // Another process drives it: told while somebody waits here, and at 0 while it is not over.
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
        let verifications = self.entries().flat_map(|(n, e)| {
            LEVELS.into_iter().filter_map(move |level| {
                let due = e.is_told() && e.has_mirrored() && e.has_to_pass(level);
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
            let told = e.is_counted() && e.has_mirrored();
            VIOLATION_TYPES.into_iter().filter_map(move |kind| {
                let times = e.violations(kind);
                (told || times > 0).then(|| ([&*n.id, kind.as_str()], times as f64))
            })
        });
        out.write(f::VIOLATIONS, violations)?;
        let checked = self.counted(|e| e.checked > 0);
        let looked = || self.counted(Entry::was_verified);
        out.write(f::CHECKED, checked.map(|(n, e)| ([&*n.id], e.checked as f64)))?;
        out.write(f::OPEN_VIOLATIONS, looked().map(|(n, e)| ([&*n.id], e.open_violations as f64)))
    }

    fn appends(&self, out: &mut Out<'_>) -> fmt::Result {
        let others = [(OTHER, self.appends.others())];
        let meters = || self.meters.iter().map(|n| (&*n.tenant, &*n.meter)).chain(others);
        let durations = meters().flat_map(|(tenant, meter)| {
            Outcome::ALL.into_iter().filter_map(move |outcome| {
                let counted = meter.durations(outcome).snapshot();
                let told = counted.count() > 0 || outcome == Outcome::Ok && tenant != OTHER;
                told.then(|| ([tenant, outcome.as_str()], counted))
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
        out.write(f::CONTROL_UP, around.control_plane.into_iter().map(|is| ([], up(is))))?;
        self.front(out)?;
        let looked = self.book.looked.map(|looked| ([], looked.micros() as f64 / 1e6));
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
        // A process that serves nobody has no rooms, and nobody who is slow.
        let slow = [("answer", front.slow_answers), ("body", front.slow_bodies)];
        let slow = slow.into_iter().filter(|_| !front.rooms.is_empty());
        out.write(f::SLOW_CLIENTS, slow.map(|(direction, n)| ([direction], n as f64)))
    }
}

/// Writes families.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn family(&mut self, family: Family) -> Result<MetricEncoder<'_>, fmt::Error> {
        let kind = match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram(_) => MetricType::Histogram,
        };
        self.0.encode_descriptor(family.name, family.help, None, kind)
    }

    fn write<'s, const N: usize>(
        &mut self,
        family: Family,
        samples: impl Iterator<Item = ([&'s str; N], f64)>,
    ) -> fmt::Result {
        let mut encoder = self.family(family)?;
        for (values, value) in samples {
            let labels = labels(family, values);
            let mut series = encoder.encode_family(&labels)?;
            match family.kind {
                Kind::Counter => {
                    series.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
                }
                _ => series.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    fn write_histograms<'s, const N: usize>(
        &mut self,
        family: Family,
        samples: impl Iterator<Item = ([&'s str; N], Snapshot)>,
    ) -> fmt::Result {
        let mut encoder = self.family(family)?;
        for (values, counted) in samples {
            let labels = labels(family, values);
            let mut series = encoder.encode_family(&labels)?;
            let (sum, count) = (counted.sum, counted.count());
            series.encode_histogram::<NoLabelSet>(sum, count, &counted.buckets, None)?;
        }
        Ok(())
    }
}

fn labels<const N: usize>(family: Family, values: [&str; N]) -> [(&'static str, &str); N] {
    debug_assert_eq!(family.labels.len(), N, "{}", family.name);
    std::array::from_fn(|i| (family.labels[i], values[i]))
}
