//! Creates spans from signals and passes them to a sink.
//!
//! A phase lasts for hours and its process may die, so no span is held open: leaves are created by the
//! signal of their end, phases by [`Ended`].

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::migration::{Migration, Phase};
use rehome_ports::clock::Clock;

use super::names::{attribute, span as name};
use super::phases::{self, Ended};
use super::span::{Mirrored, Span, is_sampled, span_id};
use crate::signal::{CutoverPart, Observer, Signal, Way};

/// What a sink receives.
#[derive(Clone, Debug)]
pub enum Told {
    /// A span that is over.
    Span(Box<Span>),
    /// The spans are to be made from the migration's log.
    Ended(Box<Ended>),
}

/// The receiver of spans. Called on the path of the event: it must return at once, and drop what it has
/// no room for.
pub trait SpanSink: Send + Sync {
    /// Accepts it, or drops it.
    fn take(&self, told: Told);
}

/// An observer that makes spans.
pub struct Spans {
    clock: Arc<dyn Clock>,
    sink: Arc<dyn SpanSink>,
    sample_ratio: f64,
}

impl Spans {
    /// Makes spans for `sink`; of batches and appends that went well only this part, 0.0 to 1.0.
    pub fn new(clock: Arc<dyn Clock>, sink: Arc<dyn SpanSink>, sample_ratio: f64) -> Self {
        Self { clock, sink, sample_ratio }
    }

    fn send(&self, span: Span) {
        self.sink.take(Told::Span(Box::new(span)));
    }

    /// From so long ago until now.
    fn lasted(&self, took: Duration) -> (Timestamp, Timestamp) {
        let now = self.clock.now();
        let micros = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        (Timestamp::from_micros(now.micros().saturating_sub(micros)), now)
    }

    fn batch(&self, migration: &Migration, (events, bytes, upto): (u64, u64, u64), took: Duration) {
        if is_sampled(migration, name::BATCH, upto, self.sample_ratio) {
            let (times, parent) = (self.lasted(took), phases::bulk_copy(migration));
            let id = leaf(migration, name::BATCH, times);
            let span = Span::new(migration, id, Some(parent), name::BATCH, Phase::BulkCopy, times);
            self.send(
                span.with(attribute::EVENTS, events)
                    .with(attribute::BYTES, bytes)
                    .with(attribute::UPTO, upto),
            );
        }
    }

    fn mirrored(&self, migration: &Migration, events: u64, upto: u64, took: Duration) {
        if is_sampled(migration, name::APPEND, upto, self.sample_ratio) {
            let mut span = self.append(migration, events, took).with(attribute::UPTO, upto);
            let after = upto.saturating_sub(events);
            span.mirrored = Some(Mirrored { tenant: migration.tenant, after, upto });
            self.send(span);
        }
    }

    fn append(&self, migration: &Migration, events: u64, took: Duration) -> Span {
        let (times, parent) = (self.lasted(took), phases::dual_write(migration));
        let id = leaf(migration, name::APPEND, times);
        Span::new(migration, id, Some(parent), name::APPEND, Phase::DualWrite, times)
            .with(attribute::EVENTS, events)
    }

    fn part(&self, migration: &Migration, part: CutoverPart, took: Duration, error: Option<&str>) {
        let name = match part {
            // The pause is made from the log, with its cutover.
            CutoverPart::Refused | CutoverPart::Pause => return,
            CutoverPart::Verify => name::VERIFY,
            CutoverPart::Switch => name::SWITCH,
        };
        let (times, parent) = (self.lasted(took), phases::cutover(migration));
        let id = leaf(migration, name, times);
        let mut span = Span::new(migration, id, Some(parent), name, Phase::CutoverPaused, times)
            .with(attribute::ATTEMPT, phases::attempt(migration));
        span.error = error.map(Into::into);
        self.send(span);
    }
}

impl Observer for Spans {
    fn hear(&self, signal: &Signal<'_>) {
        match *signal {
            Signal::Taken { migration, log, taken_over: true } => {
                for span in phases::of_last_tenure(migration, log) {
                    self.send(span);
                }
            }
            Signal::Recorded { migration, fact, actor, .. } if phases::ends_a_phase(fact) => {
                let (migration, fact) = (migration.clone(), fact.clone());
                let ended = Ended { migration, fact, actor: actor.to_owned() };
                self.sink.take(Told::Ended(Box::new(ended)));
            }
            Signal::Copied { migration, events, bytes, upto, took, .. } => {
                self.batch(migration, (events, bytes, upto), took);
            }
            Signal::Mirrored { migration, way: Way::There, events, upto, took, .. } => {
                self.mirrored(migration, events, upto, took);
            }
            // Rare, as the mirror waits longer each time: none is left out.
            Signal::MirrorFailed { migration, way: Way::There, events, error, took, .. } => {
                let mut span = self.append(migration, events, took);
                span.error = Some(error.into());
                self.send(span);
            }
            Signal::Cutover { migration, part, took, error } => {
                self.part(migration, part, took, error);
            }
            _ => {}
        }
    }
}

/// An id for a span that nothing is the child of.
fn leaf(migration: &Migration, name: &str, (start, end): (Timestamp, Timestamp)) -> [u8; 8] {
    let times = start.micros().cast_unsigned().rotate_left(32) ^ end.micros().cast_unsigned();
    span_id(migration, name, times)
}
