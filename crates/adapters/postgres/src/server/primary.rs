//! Which server is the primary, as far as this process knows.
//!
//! After a failover the old primary may still answer for a moment: one that was stopped and wakes, or that the
//! network cut off. It has lost what the new one has, and its answers are wrong. Each promotion begins a
//! timeline, and a connection learns the timeline of its server when it starts. When a connection has
//! learned a later one, those before it are *overtaken*: what they answer is not believed, and they are closed.
//! What was sent to them and not answered has an unknown outcome.
//!
//! A process that has just begun knows no timeline: its first connection asks the other servers of the URL too.
//!
//! A statement to a server that hangs would learn nothing. While one waits, and the URL has several servers, the
//! others are asked whether one of them is the primary by now. The same while a connection to it is being made: a server
//! that hangs still accepts them.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

use super::connect::{Connected, Order, connect};
use super::url::Place;
use super::{PostgresOptions, PostgresUrl};
use crate::error::ServerError;
use crate::rows;

/// How long a statement waits before the other servers are asked, and between two times.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the others may take. One that hangs is not waited for any longer.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// How long the first connection waits for the other servers.
const COMPARED_WITHIN: Duration = Duration::from_secs(1);

/// A history of a server: the identity of its data, and the number of promotions in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timeline {
    system: String,
    number: u32,
}

/// The primary of a URL.
#[derive(Default)]
pub(super) struct Primary {
    known: Mutex<Known>,
    /// Grows when connections are overtaken.
    generation: AtomicU64,
    /// Notified when something was learned.
    learned: Notify,
    looking: AtomicBool,
    /// Whether the others were asked when the first connection began.
    compared: AtomicBool,
}

#[derive(Default)]
struct Known {
    place: Option<Place>,
    timeline: Option<Timeline>,
}

impl Primary {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from a connection that has just begun. Its generation, or an error if it is overtaken.
    pub(super) fn learn(
        &self,
        place: Place,
        timeline: Option<Timeline>,
    ) -> Result<u64, ServerError> {
        let mut known = self.known();
        if let (Some(found), Some(before)) = (&timeline, &known.timeline)
            && found.system == before.system
            && found.number < before.number
        {
            return Err(ServerError::unreachable(format!(
                "its timeline {} is earlier than {}, which this process has seen: it is a former primary, or a failover was \
                 undone and commits were lost; see \"Failover\" in docs/deployment.md",
                found.number, before.number
            )));
        }
        let before = self.generation.load(Ordering::Acquire);
        // A server that does not report its timeline is not judged.
        if timeline.is_some() {
            let overtakes = known.timeline.is_some() && known.timeline != timeline;
            self.generation.fetch_add(u64::from(overtakes), Ordering::AcqRel);
            known.timeline = timeline;
        }
        let generation = self.generation.load(Ordering::Acquire);
        if before != generation || known.place.as_ref() != Some(&place) {
            known.place = Some(place);
            self.learned.notify_waiters();
        }
        Ok(generation)
    }

    /// Whether a timeline is one of the data that this process knows, if it knows any.
    fn is_of_its_data(&self, found: Option<&Timeline>) -> bool {
        let known = self.known();
        match (&known.timeline, &known.place) {
            (Some(known), _) => found.is_some_and(|found| found.system == known.system),
            (None, Some(_)) => false,
            (None, None) => true,
        }
    }

    /// Whether a later connection has a later timeline.
    pub(super) fn has_overtaken(&self, generation: u64) -> bool {
        generation < self.generation.load(Ordering::Acquire)
    }

    /// Resolves when a connection of this generation, on which a statement waits, is overtaken.
    pub(super) async fn overtakes(
        &self,
        generation: u64,
        url: &PostgresUrl,
        options: PostgresOptions,
    ) {
        self.until(|| self.has_overtaken(generation), url, options).await;
    }

    /// Resolves when this process has learned what `is_so` looks for, in whichever task. Meanwhile, asks the other
    /// servers now and then.
    async fn until(&self, is_so: impl Fn() -> bool, url: &PostgresUrl, options: PostgresOptions) {
        loop {
            let mut learned = pin!(self.learned.notified());
            learned.as_mut().enable();
            if is_so() {
                return;
            }
            let look = async {
                if url.places.len() < 2 {
                    return std::future::pending().await;
                }
                tokio::time::sleep(LOOK_EVERY).await;
                self.look(url, options).await;
            };
            // A look may be at a server that hangs: what another has learned ends it.
            tokio::select! {
                biased;
                () = learned => {}
                () = look => {}
            }
        }
    }

    /// Connects to the primary. When another server is found to be the primary meanwhile, connects to that one.
    pub(super) async fn connect(
        &self,
        url: &PostgresUrl,
        session: Option<&str>,
        options: PostgresOptions,
    ) -> Result<(Connected, Place), ServerError> {
        loop {
            let tried = self.known().place.clone();
            let order = tried.clone().map_or(Order::AsGiven, Order::First);
            tokio::select! {
                biased;
                connected = connect(url, session, options.connect_within, &order) => return connected,
                () = self.until(|| self.known().place != tried, url, options) => {}
            }
        }
    }

    /// When the first connection has begun, asks the other servers: the one that was found may be a primary of the
    /// past, and this process knows no timeline yet.
    pub(super) async fn compare(&self, url: &PostgresUrl, options: PostgresOptions) {
        if url.places.len() > 1 && !self.compared.swap(true, Ordering::AcqRel) {
            // A member that hangs is not waited for.
            let _ = tokio::time::timeout(COMPARED_WITHIN, self.look(url, options)).await;
        }
    }

    /// Asks the servers other than the known primary, all at once, unless another statement does so now.
    async fn look(&self, url: &PostgresUrl, options: PostgresOptions) {
        if self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let looks = Looks(&self.looking);
        let known = self.known().place.clone();
        let others = url.places.iter().filter(|place| Some(*place) != known.as_ref());
        let mut asked: FuturesUnordered<_> =
            others.map(|place| Box::pin(ask(place.clone(), url, options))).collect();
        let began = Instant::now();
        let found = tokio::time::timeout(LOOK_WITHIN, async {
            while let Some(answer) = asked.next().await {
                // One that does not answer, has other data or is overtaken is not the primary.
                if let Some((place, timeline)) = answer
                    && self.is_of_its_data(timeline.as_ref())
                    && self.learn(place.clone(), timeline).is_ok()
                {
                    return Some(place);
                }
            }
            None
        });
        let found = found.await.ok().flatten().map(|place| place.to_string());
        let took_ms = began.elapsed().as_millis();
        tracing::debug!(took_ms, found, "the other servers of the URL were asked");
        drop(looks);
    }
}

/// The timeline of a server that is a primary.
async fn ask(
    place: Place,
    url: &PostgresUrl,
    options: PostgresOptions,
) -> Option<(Place, Option<Timeline>)> {
    let only = Order::Only(place);
    let connected = connect(url, None, options.connect_within, &only).await;
    let ((client, connection), place) = connected.ok()?;
    let driven = AbortOnDropHandle::new(tokio::spawn(connection));
    let timeline = timeline(&client).await;
    drop(driven);
    Some((place, timeline))
}

/// Until it is dropped, one looks.
struct Looks<'a>(&'a AtomicBool);

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The error of a connection that is overtaken. Whether a statement on it was carried out is not known.
pub(super) fn overtaken() -> ServerError {
    ServerError::lost("it is no longer the primary: another server was promoted")
}

/// The timeline in which the server writes, if it reports it.
pub(super) async fn timeline(client: &Client) -> Option<Timeline> {
    let look = "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), \
                pg_catalog.text(system_identifier) FROM pg_catalog.pg_control_system()";
    let found = client.query_typed(look, &[]).await.ok()?;
    let row = found.first()?;
    // The name of the segment begins with the timeline, in hexadecimal.
    let number = u32::from_str_radix(rows::get::<&str>(row, 0).ok()?.get(..8)?, 16).ok()?;
    Some(Timeline { system: rows::get(row, 1).ok()?, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16) -> Place {
        Place { host: "h".to_owned(), address: None, port }
    }

    fn timeline(system: &str, number: u32) -> Timeline {
        Timeline { system: system.to_owned(), number }
    }

    #[test]
    fn a_later_timeline_overtakes_connections_and_an_earlier_one_is_refused() {
        let primary = Primary::default();
        let first = primary.learn(place(1), Some(timeline("a", 3))).unwrap();
        let same = primary.learn(place(1), Some(timeline("a", 3))).unwrap();
        assert!(!primary.has_overtaken(first) && !primary.has_overtaken(same));
        let second = primary.learn(place(2), Some(timeline("a", 4))).unwrap();
        assert!(primary.has_overtaken(first) && !primary.has_overtaken(second));
        let former = primary.learn(place(1), Some(timeline("a", 3))).unwrap_err().to_string();
        assert!(former.contains("timeline 3 is earlier than 4"), "{former}");
        assert_eq!(primary.known().place, Some(place(2)));
    }

    #[test]
    fn other_data_at_the_same_address_begin_anew() {
        let primary = Primary::default();
        let before = primary.learn(place(1), Some(timeline("a", 9))).unwrap();
        assert!(primary.is_of_its_data(Some(&timeline("a", 10))));
        assert!(!primary.is_of_its_data(Some(&timeline("b", 10))) && !primary.is_of_its_data(None));
        assert!(Primary::default().is_of_its_data(None), "nothing is known yet");
        let after = primary.learn(place(1), Some(timeline("b", 1))).unwrap();
        assert!(primary.has_overtaken(before) && !primary.has_overtaken(after));
    }

    #[test]
    fn a_server_that_does_not_report_its_timeline_is_not_judged() {
        let primary = Primary::default();
        let before = primary.learn(place(1), Some(timeline("a", 9))).unwrap();
        let silent = primary.learn(place(1), None).unwrap();
        assert!(!primary.has_overtaken(before) && !primary.has_overtaken(silent));
    }
}
