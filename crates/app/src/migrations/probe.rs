//! An estimate by a probe: from a sample of the history, its growth rate, and
//! the rates of earlier migrations into the same store.
//!
//! **Nothing is written.** The cost of a write to the target could be measured by copying a
//! sample there and removing it again. That would put a tenant's events into a store before an operator has
//! decided that they may be there, and leave a tombstone in its ledgers for each probe. Earlier
//! migrations into that store are the better measure; without any, the range is wide
//! and a remark says so.

use rehome_api as api;
use rehome_domain::estimate::{self, Estimate, Inputs};
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::migration::{Fact, Phase};
use rehome_engine::migration::{OperationError, PlanRequest};
use rehome_ports::{LogEntry, Migrations};

use super::plan::EstimateRequest;
use super::rate::rate_lately;
use crate::deployment::Deployment;
use crate::documents;
use crate::error::AppError;

/// Maximum number of earlier migrations to read, newest first.
const EARLIER: usize = 20;
/// Shorter copies do not give a rate, in events and in microseconds.
const EVENTS_MIN: u64 = 1_000;
const TIME_MIN_US: i64 = 100_000;
/// A copy reads, writes, indexes and flushes: it is so many times slower than reading alone.
const READ_TO_COPY: Range = Range { low: 8.0, likely: 4.0, high: 2.0 };
/// The pause that is expected, in seconds; the guide's is longer.
const PAUSE_SECONDS: f64 = 0.05;

#[derive(Clone, Copy)]
struct Range {
    low: f64,
    likely: f64,
    high: f64,
}

impl Range {
    fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { low: change(self.low), likely: change(self.likely), high: change(self.high) }
    }

    /// The range of the measurements; the likely one is the median.
    fn of(mut rates: Vec<f64>) -> Option<Self> {
        rates.sort_by(f64::total_cmp);
        let (low, high) = (*rates.first()?, *rates.last()?);
        Some(Self { low, likely: rates[rates.len() / 2], high })
    }
}

/// Estimates by a probe; `given` overrides measurements.
pub async fn probe(
    deployment: &Deployment,
    tenant: TenantId,
    target: &StoreId,
    given: &EstimateRequest,
) -> Result<api::Probe, AppError> {
    let about = |error: AppError| error.tenant(tenant);
    super::plan::check_answers(deployment, tenant, target).await.map_err(about)?;
    let request = PlanRequest { tenant, target: target.clone() };
    let plan = deployment.engine().plan(&request).await.map_err(OperationError::from);
    let plan = plan.map_err(|error| about(error.into()))?;
    let mut remarks: Vec<String> = plan
        .findings
        .iter()
        .filter(|finding| !finding.ok)
        .map(|finding| format!("it would not start: {}", finding.detail))
        .collect();
    let read = plan.read_rate.ok_or_else(|| {
        let message = "the tenant has no events to measure";
        about(AppError::refused(message))
    })?;
    let write = match given.write_rate {
        Some(rate) => rate,
        None => rate_lately(deployment, tenant).await.map_err(about)?.events_per_s,
    };
    let (copy, from) = if let Some(rate) = given.copy_rate {
        (Range { low: rate, likely: rate, high: rate }, "given")
    } else if let Some(range) = Range::of(earlier_rates(deployment, target).await?) {
        (range, "earlier migrations")
    } else {
        remarks.push(
            "there is no earlier migration into that store to measure its write rate; the rate is \
                 guessed from the read rate"
                .to_owned(),
        );
        (READ_TO_COPY.map(|factor| read / factor), "reading")
    };
    let limit = super::options(deployment, &api::OptionsPatch::default())?.copy_rate_max;
    let copy = if limit == 0 { copy } else { copy.map(|rate| rate.min(f64::from(limit))) };
    let defaults = Inputs::default();
    let at = |rate: f64| {
        let inputs = Inputs {
            total_events: plan.events,
            copy_rate_per_second: rate,
            dual_write_lag_events: given.lag_events.unwrap_or(defaults.dual_write_lag_events),
            cutover_pause_seconds: given.pause_seconds.unwrap_or(PAUSE_SECONDS),
            buffer_factor: given.buffer_factor.unwrap_or(defaults.buffer_factor),
            write_rate_per_second: write,
        };
        at_rate(&inputs)
    };
    let (estimate, best, worst) = (at(copy.likely)?, at(copy.high)?, at(copy.low)?);
    let converges = estimate.is_some();
    if worst.is_none() {
        let which = if converges { "at the low end of the range" } else { "at the likely rate" };
        remarks.push(format!(
            "the tenant writes {write:.1} events/s: {which} the copy would never catch up; raise \
                 its rate or wait for a quieter hour"
        ));
    }
    let document = |estimate: Option<Estimate>| estimate.as_ref().map(documents::estimate);
    Ok(api::Probe {
        tenant_id: tenant.uuid(),
        source_store: plan.source.to_string(),
        target_store: plan.target.to_string(),
        events_to_copy: plan.events,
        read_events_per_s: read.round(),
        write_events_per_s: write,
        copy_events_per_s: api::RateRange { low: copy.low, likely: copy.likely, high: copy.high },
        copy_rate_from: from.to_owned(),
        converges,
        estimate: document(estimate),
        best: document(best),
        worst: document(worst),
        remarks,
    })
}

/// How fast the last migrations into a store copied, in events per second.
async fn earlier_rates(deployment: &Deployment, target: &StoreId) -> Result<Vec<f64>, AppError> {
    let which = Migrations { phase: Some(Phase::Migrated), limit: 200, ..Migrations::default() };
    let migrations = deployment.engine().control().migrations(which).await?;
    let mut rates = Vec::new();
    for migration in migrations.iter().filter(|one| one.target == *target).take(EARLIER) {
        rates.extend(copied(&super::read_log(deployment, migration.id).await?));
    }
    Ok(rates)
}

/// `None` where it would never catch up; other inputs that make no sense are refused.
fn at_rate(inputs: &Inputs) -> Result<Option<Estimate>, AppError> {
    match estimate::estimate(inputs) {
        Ok(estimate) => Ok(Some(estimate)),
        Err(estimate::InvalidInput::NeverCatchesUp { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The rate of a copy that went through without a pause, by its log.
fn copied(log: &[LogEntry]) -> Option<f64> {
    let began = log.iter().find(|entry| entry.fact == Fact::CopyStarted)?;
    let (ended, events) = log.iter().find_map(|entry| match entry.fact {
        Fact::CopyCompleted { events } => Some((entry, events)),
        _ => None,
    })?;
    let between = log.iter().filter(|entry| (began.index..ended.index).contains(&entry.index));
    let micros = ended.at.micros() - began.at.micros();
    let whole = !between.into_iter().any(|entry| entry.fact == Fact::Paused);
    (whole && events >= EVENTS_MIN && micros >= TIME_MIN_US)
        .then(|| events as f64 / (micros as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use rehome_domain::digest::Digest;
    use rehome_domain::event::Timestamp;

    use super::*;

    fn log(facts: impl IntoIterator<Item = (i64, Fact)>) -> Vec<LogEntry> {
        let entry = |(index, (ms, fact)): (u64, (i64, Fact))| LogEntry {
            index,
            at: Timestamp::from_micros(ms * 1_000),
            actor: String::new(),
            text: String::new(),
            fact,
            hash: Digest::EMPTY,
        };
        (1..).zip(facts).map(entry).collect()
    }

    #[test]
    fn a_rate_is_told_by_a_copy_that_was_long_enough_and_never_paused() {
        let done = |events| Fact::CopyCompleted { events };
        let rate = |facts: Vec<(i64, Fact)>| copied(&log(facts));
        assert_eq!(rate(vec![(0, Fact::CopyStarted), (2_000, done(4_000))]), Some(2_000.0));
        assert_eq!(rate(vec![(0, Fact::CopyStarted), (99, done(4_000))]), None);
        assert_eq!(rate(vec![(0, Fact::CopyStarted), (2_000, done(999))]), None);
        assert_eq!(rate(vec![(0, Fact::CopyStarted)]), None);
        let paused = vec![
            (0, Fact::CopyStarted),
            (9, Fact::Paused),
            (99, Fact::Resumed),
            (200, done(5_000)),
        ];
        assert_eq!(rate(paused), None);
    }

    #[test]
    fn the_likely_rate_is_the_middle_one() {
        let range = Range::of(vec![30.0, 10.0, 20.0]).unwrap();
        let is = |rate: f64, expected: f64| assert!((rate - expected).abs() < f64::EPSILON);
        is(range.low, 10.0);
        is(range.likely, 20.0);
        is(range.high, 30.0);
        assert!(Range::of(vec![]).is_none());
    }

    #[test]
    fn a_copy_that_is_no_faster_than_the_writes_never_catches_up() {
        let inputs = |copy, write| Inputs {
            total_events: 1_000,
            copy_rate_per_second: copy,
            write_rate_per_second: write,
            ..Inputs::default()
        };
        assert!(at_rate(&inputs(100.0, 100.0)).unwrap().is_none());
        assert!(at_rate(&inputs(100.0, 99.0)).unwrap().is_some());
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(at_rate(&inputs(bad, 0.0)).is_err());
        }
    }
}
