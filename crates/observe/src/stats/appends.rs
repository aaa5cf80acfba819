//! The recent latency of appends through this process: samples of the router's histograms, so
//! that the counts between two moments can be computed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rehome_domain::event::Timestamp;
use rehome_domain::ids::TenantId;
use rehome_engine::Snapshot;
use rehome_engine::appends::{Appends, Outcome};

/// How far samples lie apart, in microseconds.
const APART_US: i64 = 15_000_000;
/// Maximum number of samples: five minutes.
const SAMPLES: usize = 20;

/// The samples.
pub(crate) struct AppendWindow {
    began: Timestamp,
    samples: Mutex<VecDeque<Sample>>,
}

struct Sample {
    at: Timestamp,
    tenants: HashMap<TenantId, Snapshot>,
}

impl AppendWindow {
    pub(crate) fn new(began: Timestamp) -> Self {
        Self { began, samples: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a sample, unless the last one is recent.
    pub(crate) fn sample(&self, now: Timestamp, appends: &Appends) {
        let mut samples = self.lock();
        // Samples dated after now, by a clock that was ahead and was set right, are useless.
        samples.retain(|sample| sample.at <= now);
        if samples.back().is_some_and(|last| now.micros() - last.at.micros() < APART_US) {
            return;
        }
        let tenants = appends.tenants().into_iter();
        let tenants =
            tenants.map(|(tenant, meter)| (tenant, meter.durations(Outcome::Ok).snapshot()));
        samples.push_back(Sample { at: now, tenants: tenants.collect() });
        while samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// A tenant's appends of the last minutes and not before `from`; `None` where no sample is young
    /// enough, or nothing was appended. Without samples all counts since the process began, if that is
    /// young enough.
    pub(crate) fn since(
        &self,
        tenant: TenantId,
        from: Timestamp,
        appends: &Appends,
    ) -> Option<Snapshot> {
        let current = appends.tenant(tenant)?.durations(Outcome::Ok).snapshot();
        let samples = self.lock();
        let counted = match samples.iter().find(|sample| sample.at >= from) {
            // A tenant that was not there at the sample had appended nothing.
            Some(sample) => match sample.tenants.get(&tenant) {
                Some(before) => current.since(before),
                None => current,
            },
            None if self.began >= from && samples.is_empty() => current,
            None => return None,
        };
        (counted.count() > 0).then_some(counted)
    }
}
