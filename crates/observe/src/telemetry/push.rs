//! Sends the metrics of a server periodically, for deployments without a scraper.

use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_engine::metrics::Front;
use rehome_ports::clock::{Clock as _, SystemClock};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::otlp::{self, Batch, Sender};
use crate::scrape::{Reachable, Sources};

/// Maximum time for a stopping server to send its last metrics.
const LAST_WITHIN: Duration = Duration::from_secs(3);

/// What to send, and where.
pub(crate) struct Push<'a> {
    pub(crate) reachable: &'a Reachable,
    pub(crate) sources: Sources<'a>,
}

impl Push<'_> {
    /// Sends the metrics of this process until `stop` is cancelled, and once more then, if
    /// enabled. `front`: the counts of the server's front end.
    pub(crate) async fn run(&self, front: impl Fn() -> Front, stop: &CancellationToken) {
        let config = &self.sources.deployment.config().otlp;
        let Some(to) = &config.metrics else { return };
        let sender = match Sender::new(to) {
            Ok(sender) => sender,
            Err(error) => {
                tracing::error!(error, "no metrics are sent");
                return;
            }
        };
        let resource = otlp::resource(config, self.sources.deployment.holder());
        let request = || {
            let (started, samples) = self.reachable.samples(self.sources, front());
            let started = Duration::try_from_secs_f64(started).unwrap_or_default().as_micros();
            let started = Timestamp::from_micros(i64::try_from(started).unwrap_or(0));
            let times = (started, SystemClock.now());
            Batch::Metrics(otlp::metrics_of(&resource, samples, times))
        };
        let mut ticks = interval_at(Instant::now() + config.metrics_every, config.metrics_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let batch = request();
            let sent = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                sent = sender.send(&batch) => sent,
            };
            match sent {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the collector accepts metrics again");
                }
                Ok(()) => {}
                Err(error) if error.is_unknown => {
                    tracing::warn!(
                        %error,
                        "metrics are disabled: this collector does not accept them; \
                         set OTEL_METRICS_EXPORTER=none"
                    );
                    return;
                }
                // Once for an outage.
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "the collector did not accept metrics; they are sent again with the next");
                }
                Err(error) => tracing::debug!(%error, "the collector did not accept metrics"),
            }
        }
        match timeout(LAST_WITHIN, sender.send(&request())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the collector did not accept the last metrics");
            }
            Err(_) => tracing::warn!("sending the last metrics timed out"),
        }
    }
}
