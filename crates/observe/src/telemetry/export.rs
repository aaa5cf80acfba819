//! Sends spans in the background. Nothing waits for it: spans without room, or without a collector, are
//! dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span as Theirs;
use rehome_domain::ids::TenantId;
use rehome_engine::Observer;
use rehome_engine::telemetry::{CallerContext, Callers, Ended, Span, SpanSink, Spans, Told};
use rehome_ports::ControlPlane;
use rehome_ports::clock::Clock;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SENDERS;
use super::otlp::{self, Batch, Sender};
use rehome_app::config::OtlpConfig;

/// Spans that wait to be sent; one more is dropped.
const WAITING_MAX: usize = 4_096;
/// Spans sent at once.
const BATCH_MAX: usize = 512;
/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_millis(500);
/// Minimum time between two lines about lost spans.
const LOSSES_EVERY: Duration = Duration::from_secs(60);
/// Maximum number of attempts to read the log of a migration for its spans.
const LOG_TRIES: u32 = 5;

/// The spans of one deployment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Traces {
    observer: Arc<Spans>,
    callers: Arc<Callers>,
}

impl Traces {
    /// The connection to the collector, if spans are to be sent. The error explains why there is none.
    pub(crate) fn collector(config: &OtlpConfig) -> Result<Option<Sender>, String> {
        let to = config.traces.as_ref().filter(|_| config.trace_ratio > 0.0);
        to.map(Sender::new).transpose()
    }

    /// Begins to send to this collector.
    pub(crate) fn begin(
        collector: Sender,
        config: &OtlpConfig,
        control: &Arc<dyn ControlPlane>,
        clock: &Arc<dyn Clock>,
        holder: &str,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (callers, dropped) = (Arc::<Callers>::default(), Arc::<AtomicU64>::default());
        let queue = Arc::new(Queue { sender, dropped: Arc::clone(&dropped) });
        let (tasks, stop) = &*SENDERS;
        let work = Work {
            receiver,
            collector,
            resource: otlp::resource(config, holder),
            trace_ratio: config.trace_ratio,
            control: Arc::clone(control),
            callers: Arc::clone(&callers),
            dropped,
            failing: false,
            lost: 0,
            told: None,
            stop: stop.clone(),
        };
        tasks.spawn(work.run());
        let observer = Arc::new(Spans::new(Arc::clone(clock), queue, config.sample_ratio));
        Self { observer, callers }
    }

    /// This, as an observer of signals.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer) as Arc<dyn Observer>
    }

    /// An append with this `traceparent` was stored.
    pub(crate) fn appended(&self, tenant: TenantId, last_seq: u64, traceparent: &str) {
        if let Some(context) = CallerContext::parse(traceparent) {
            self.callers.remember(tenant, last_seq, context);
        }
    }
}

struct Queue {
    sender: mpsc::Sender<Told>,
    dropped: Arc<AtomicU64>,
}

impl SpanSink for Queue {
    fn take(&self, told: Told) {
        if self.sender.try_send(told).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Work {
    receiver: mpsc::Receiver<Told>,
    collector: Sender,
    resource: Resource,
    trace_ratio: f64,
    control: Arc<dyn ControlPlane>,
    callers: Arc<Callers>,
    dropped: Arc<AtomicU64>,
    /// The last batch failed.
    failing: bool,
    /// Spans that were lost, and that no line has counted yet.
    lost: u64,
    /// When a line last said how many were lost.
    told: Option<Instant>,
    stop: CancellationToken,
}

impl Work {
    /// Until the process ends, or there is no sender of spans.
    async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            let mut told = Vec::new();
            let more = tokio::select! {
                taken = self.receiver.recv_many(&mut told, BATCH_MAX) => taken > 0,
                () = stop.cancelled() => false,
            };
            if more {
                // Also for the links: callers of appends are recorded by then.
                let _ = tokio::time::timeout(GATHER, stop.cancelled()).await;
            }
            while told.len() < BATCH_MAX
                && let Ok(next) = self.receiver.try_recv()
            {
                told.push(next);
            }
            if told.is_empty() && !more {
                self.told = None;
                self.tell_losses();
                return;
            }
            self.send(told).await;
        }
    }

    async fn send(&mut self, told: Vec<Told>) {
        let mut batch = Vec::with_capacity(told.len());
        for told in told {
            match told {
                Told::Span(span) => batch.extend(self.data(*span)),
                Told::Ended(ended) => {
                    let spans = self.phases(&ended).await;
                    batch.extend(spans.into_iter().filter_map(|span| self.data(span)));
                }
            }
        }
        if batch.is_empty() {
            return;
        }
        let spans_count = batch.len();
        let batch = Batch::Spans(otlp::spans_of(&self.resource, batch));
        match self.collector.send(&batch).await {
            Ok(()) if self.failing => {
                self.failing = false;
                self.told = None;
                tracing::info!("the collector accepts spans again");
            }
            Ok(()) => {}
            // Once for an outage, not for each batch of it.
            Err(error) if !self.failing => {
                self.failing = true;
                self.told = Some(Instant::now());
                self.lost += spans_count as u64;
                tracing::warn!(%error, spans_count, "the collector did not accept spans; they are dropped");
            }
            Err(error) => {
                self.lost += spans_count as u64;
                tracing::debug!(%error, spans_count, "the collector did not accept spans");
            }
        }
        self.lost += self.dropped.swap(0, Ordering::Relaxed);
        self.tell_losses();
    }

    /// Logs how many spans were lost since the last such line, at a limited rate.
    fn tell_losses(&mut self) {
        let soon = self.told.is_some_and(|told| told.elapsed() < LOSSES_EVERY);
        if self.lost > 0 && !soon {
            self.told = Some(Instant::now());
            let spans_count = std::mem::take(&mut self.lost);
            tracing::warn!(
                spans_count,
                "spans were lost: the collector did not accept them, or the queue was full"
            );
        }
    }

    /// `None`: its migration is none of those that are traced.
    fn data(&self, span: Span) -> Option<Theirs> {
        if !is_traced(span.trace, self.trace_ratio) {
            return None;
        }
        let callers = span.mirrored.map_or(Vec::new(), |mirrored| {
            self.callers.of(mirrored.tenant, mirrored.after, mirrored.upto)
        });
        Some(otlp::span_of(span, callers))
    }

    /// The spans of the phases that a fact ended. A control plane that does not answer for long leaves
    /// them out of the trace.
    async fn phases(&self, ended: &Ended) -> Vec<Span> {
        for _ in 0..LOG_TRIES {
            match ended.spans(&*self.control).await {
                Ok(spans) => return spans,
                Err(error) => {
                    tracing::debug!(%error, "the log of a migration could not be read for its spans");
                }
            }
            if tokio::time::timeout(GATHER, self.stop.cancelled()).await.is_ok() {
                break;
            }
        }
        Vec::new()
    }
}

/// Whether a trace is in the sampled `ratio` (0.0 to 1.0): the same in every process. Some
/// bits of a trace's id, which is a UUID, are constant; so its hash is used.
fn is_traced(trace: [u8; 16], ratio: f64) -> bool {
    let hash = Sha256::digest(trace);
    let first = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    ratio >= 1.0 || (first as f64) < ratio * u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_traces_the_part_that_was_asked_for_is_kept_and_more_of_it_with_a_greater_one() {
        let traces: Vec<_> = (0..4_000_u32)
            .map(|n| *uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_be_bytes()).as_bytes())
            .collect();
        let kept = |ratio| traces.iter().filter(|trace| is_traced(**trace, ratio)).count();
        assert_eq!((kept(0.0), kept(1.0)), (0, traces.len()));
        let quarter = kept(0.25);
        assert!((900..1_100).contains(&quarter), "{quarter}");
        let smaller = |trace: &[u8; 16]| is_traced(*trace, 0.25) && !is_traced(*trace, 0.5);
        assert!(!traces.iter().any(smaller));
    }
}
