//! Sends spans in the background. Nothing waits for it: what finds no room, or nobody to take it, is
//! dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use rehome_domain::ids::TenantId;
use rehome_engine::Observer;
use rehome_engine::telemetry::{CallerContext, Callers, Ended, Span, SpanSink, Spans, Told};
use rehome_ports::ControlPlane;
use rehome_ports::clock::Clock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{SENDERS, otlp};
use crate::config::TracesConfig;

/// Spans that wait to be sent; one more is dropped.
const WAITING_MAX: usize = 4_096;
/// Spans sent at once.
const BATCH_MAX: usize = 512;
/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_millis(500);
/// How often the log of a migration is asked for before its spans are given up.
const LOG_TRIES: u32 = 5;

/// The spans of one deployment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Traces {
    observer: Arc<Spans>,
    callers: Arc<Callers>,
}

impl Traces {
    /// Begins to send, if that was asked for and can be done.
    pub(crate) fn begin(
        config: &TracesConfig,
        control: &Arc<dyn ControlPlane>,
        clock: &Arc<dyn Clock>,
        holder: &str,
    ) -> Option<Self> {
        if !otlp::is_wanted(config) {
            return None;
        }
        let exporter = match otlp::exporter(config, holder) {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::warn!(%error, "no spans are sent");
                return None;
            }
        };
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (callers, dropped) = (Arc::<Callers>::default(), Arc::<AtomicU64>::default());
        let queue = Arc::new(Queue { sender, dropped: Arc::clone(&dropped) });
        let (tasks, stop) = &*SENDERS;
        let work = Work {
            receiver,
            exporter,
            control: Arc::clone(control),
            callers: Arc::clone(&callers),
            dropped,
            failing: false,
            stop: stop.clone(),
        };
        tasks.spawn(work.run());
        let observer = Arc::new(Spans::new(Arc::clone(clock), queue, config.sample_ratio));
        Some(Self { observer, callers })
    }

    /// This, as one that hears signals.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer) as Arc<dyn Observer>
    }

    /// An append was taken that came with this `traceparent`.
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
    exporter: SpanExporter,
    control: Arc<dyn ControlPlane>,
    callers: Arc<Callers>,
    dropped: Arc<AtomicU64>,
    /// The last batch was not taken.
    failing: bool,
    stop: CancellationToken,
}

impl Work {
    /// Until the process ends, or nobody is left who makes spans.
    async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            let mut told = Vec::new();
            let more = tokio::select! {
                taken = self.receiver.recv_many(&mut told, BATCH_MAX) => taken > 0,
                () = stop.cancelled() => false,
            };
            if more {
                // Also for the sake of links: whoever made an append has said so by then.
                let _ = tokio::time::timeout(GATHER, stop.cancelled()).await;
            }
            while told.len() < BATCH_MAX
                && let Ok(next) = self.receiver.try_recv()
            {
                told.push(next);
            }
            if told.is_empty() && !more {
                return;
            }
            self.send(told).await;
        }
    }

    async fn send(&mut self, told: Vec<Told>) {
        let mut batch = Vec::with_capacity(told.len());
        for told in told {
            match told {
                Told::Span(span) => batch.push(self.data(*span)),
                Told::Ended(ended) => {
                    let spans = self.phases(&ended).await;
                    batch.extend(spans.into_iter().map(|span| self.data(span)));
                }
            }
        }
        if batch.is_empty() {
            return;
        }
        let spans_count = batch.len();
        match self.exporter.export(batch).await {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("spans are taken again");
            }
            Ok(()) => {}
            // Once for an outage, not for each batch of it.
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(%error, spans_count, "spans were not taken and are dropped");
            }
            Err(error) => tracing::debug!(%error, spans_count, "spans were not taken"),
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::debug!(spans_count = dropped, "spans were dropped: too many waited");
        }
    }

    fn data(&self, span: Span) -> SpanData {
        let callers = span.mirrored.map_or(Vec::new(), |mirrored| {
            self.callers.of(mirrored.tenant, mirrored.after, mirrored.upto)
        });
        otlp::span_data(span, callers)
    }

    /// The spans of the phases that a fact ended. A control plane that does not answer for long leaves
    /// them out of the trace.
    async fn phases(&self, ended: &Ended) -> Vec<Span> {
        for _ in 0..LOG_TRIES {
            match ended.spans(&*self.control).await {
                Ok(spans) => return spans,
                Err(error) => {
                    tracing::debug!(%error, "a migration's log is not there for its spans");
                }
            }
            if tokio::time::timeout(GATHER, self.stop.cancelled()).await.is_ok() {
                break;
            }
        }
        Vec::new()
    }
}
