//! Clients of the deployment: writers, readers, a subscriber. Each uses one process after another,
//! and passes the replies to the oracle.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::append::{Append, AppendConflict};
use rehome_domain::event::{EventType, Json, NewEvent};
use rehome_domain::ids::EventId;
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_engine::Subscription;
use rehome_ports::{AppendError, BatchLimit, EventStore as _, ReadError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cluster::Stage;
use crate::dice::Dice;
use crate::oracle::Floor;
use crate::plan::PROCESSES;
use crate::process::Process;

const ALL: BatchLimit = BatchLimit { events: usize::MAX, bytes: usize::MAX };
/// The text of every planned fault; any other fault is the engine's or a store's own.
const PLANNED: &str = "cannot be reached: by the plan";

/// One client.
pub(crate) struct Client {
    pub(crate) stage: Arc<Stage>,
    pub(crate) number: u64,
    pub(crate) stop: CancellationToken,
}

fn stream(id: &str) -> StreamName {
    StreamName::new("order", id).expect("a stream's name")
}

/// An append of so many events, the first with this number.
pub(crate) fn append(
    writer: u64,
    first: u64,
    count: u64,
    to: &str,
    expected: ExpectedVersion,
) -> Append {
    let event = |n: u64| NewEvent {
        id: EventId::new(Uuid::from_u128(u128::from(writer) << 64 | u128::from(n))),
        event_type: EventType::new("Changed").expect("a type's name"),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted(format!("{{\"w\":{writer},\"n\":{n}}}")),
        metadata: Json::trusted("{}"),
    };
    Append { stream: stream(to), expected, events: (first..first + count).map(event).collect() }
}

/// The ids of an append's events.
pub(crate) fn ids(append: &Append) -> Vec<EventId> {
    append.events.iter().map(|event| event.id).collect()
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

impl Client {
    fn dice(&self, of: &str, n: u64) -> Dice {
        self.stage.dice.of(of).nth(self.number).nth(n)
    }

    fn process(&self, dice: &mut Dice) -> Arc<Process> {
        let all: Vec<usize> = (1..=PROCESSES).collect();
        self.stage.process(dice.pick(&all))
    }

    /// Appends, with retries until the outcome is known.
    pub(crate) async fn write(self) {
        let mut first = 1;
        let mut n = 0;
        while !self.stop.is_cancelled() {
            n += 1;
            let mut dice = self.dice("writer", n);
            pause(dice.between(5, 70)).await;
            let own = format!("own-{}", self.number);
            let to = dice.pick(&[own.as_str(), "shared-1", "shared-2"]);
            let believed = self.stage.book(|book| book.floor().version(&stream(to)));
            let expected = match dice.throw() % 10 {
                0..5 => ExpectedVersion::Any,
                5..9 => ExpectedVersion::Exact(believed),
                _ if believed == 0 => ExpectedVersion::NoStream,
                _ => ExpectedVersion::Exact(believed - 1),
            };
            let count = dice.between(1, 4);
            let append = append(self.number, first, count, to, expected);
            first += count;
            self.until_told(append, &mut dice).await;
        }
    }

    async fn until_told(&self, append: Append, dice: &mut Dice) {
        let (stage, ids) = (&self.stage, ids(&append));
        stage.book(|book| book.sends(&ids, &append.stream, append.expected));
        let (mut doubt, mut asked) = (false, Vec::new());
        while !self.stop.is_cancelled() {
            let process = self.process(dice);
            if process.life.is_dead() {
                pause(5).await;
                continue;
            }
            let before = stage.book(|book| book.floor());
            asked.push(process.index);
            let told = process.within(process.engine.router().append(stage.tenant, append.clone()));
            let state = match told.await {
                None => {
                    doubt = true;
                    "process died"
                }
                Some(Ok(told)) => {
                    stage.trace.line(format_args!("w{} is told {}", self.number, told.first_seq));
                    stage.book(|book| book.acknowledged(&ids, told));
                    stage.cover("told: acknowledged");
                    if doubt {
                        stage.cover("told: acknowledged after a doubt");
                    }
                    if asked.first() != asked.last() {
                        stage.cover("told: acknowledged at another process than first asked");
                    }
                    return;
                }
                Some(Err(AppendError::Conflict(AppendConflict::Version { actual, .. }))) => {
                    stage.trace.line(format_args!("w{} is told version {actual}", self.number));
                    stage.book(|book| book.conflict(&ids, actual, &before));
                    stage.cover("told: version conflict");
                    return;
                }
                Some(Err(AppendError::WritesPaused { .. })) => "writes paused",
                Some(Err(AppendError::OutcomeUnknown { .. })) => {
                    doubt = true;
                    "outcome unknown"
                }
                Some(Err(AppendError::Busy)) => "busy",
                Some(Err(AppendError::Unavailable { source, .. })) => {
                    let why = source.to_string();
                    if !is_planned(&why) {
                        stage.violated(format!("7: w{} cannot write: {why}", self.number));
                    }
                    "unavailable"
                }
                Some(Err(error)) => {
                    stage.violated(format!("4: w{} was told: {error}", self.number));
                    return;
                }
            };
            stage.trace.line(format_args!("w{} is told: {state}", self.number));
            stage.cover(format!("told: {state}"));
            pause(dice.between(2, 60)).await;
        }
    }

    /// Reads the feed, or a stream, over and over.
    pub(crate) async fn read(self) {
        let mut n = 0;
        while !self.stop.is_cancelled() {
            n += 1;
            let mut dice = self.dice("reader", n);
            pause(dice.between(10, 90)).await;
            let process = self.process(&mut dice);
            let before = self.stage.book(|book| book.floor());
            let after =
                if dice.permille(300) { 0 } else { before.seq.saturating_sub(dice.between(0, 9)) };
            let to = dice.pick(&["shared-1", "shared-2", "own-1"]);
            let (tenant, whole) = (self.stage.tenant, dice.permille(500));
            let router = process.engine.router();
            let told = if whole {
                process.within(router.read_feed(tenant, after, ALL)).await.map(|told| {
                    told.map(|events| self.stage.book(|book| book.feed(after, &before, &events)))
                })
            } else {
                let of = stream(to);
                process.within(router.read_stream(tenant, &of, 1, ALL)).await.map(|told| {
                    told.map(|events| self.stage.book(|book| book.stream(&of, &before, &events)))
                })
            };
            if let Some(Err(error)) = told {
                self.check_read(&error, &before);
            }
        }
    }

    /// No read may fail but for what the plan does, and before there is anything to read.
    fn check_read(&self, error: &ReadError, before: &Floor) {
        let why = error.to_string();
        self.stage.trace.line(format_args!("r{} is told: {why}", self.number));
        let too_early = matches!(error, ReadError::UnknownTenant(_)) && before.seq == 0;
        if !too_early && !is_planned(&why) {
            self.stage.violated(format!("6: r{} was told: {why}", self.number));
        }
    }

    /// Follows the feed from its checkpoint; begins again elsewhere now and then.
    pub(crate) async fn follow(self) {
        let mut n = 0;
        while !self.stop.is_cancelled() {
            n += 1;
            let mut dice = self.dice("subscriber", n);
            let process = self.process(&mut dice);
            let opened = Subscription::open(&process.engine, self.stage.tenant, "all");
            let Some(Ok(mut subscription)) = process.within(opened).await else {
                pause(20).await;
                continue;
            };
            self.stage.book(|book| book.subscribes(subscription.position()));
            if n > 1 {
                self.stage.cover("a subscriber that began again");
            }
            while !self.stop.is_cancelled() && !dice.permille(20) {
                let before = self.stage.book(|book| book.floor());
                let next = subscription.next(BatchLimit::events(7));
                let patience = Duration::from_millis(500);
                match process.within(tokio::time::timeout(patience, next)).await {
                    None => break,
                    Some(Err(_)) => continue,
                    Some(Ok(Err(error))) => {
                        self.check_read(&error, &before);
                        break;
                    }
                    Some(Ok(Ok(events))) => self.stage.book(|book| book.delivered(&events)),
                }
                if dice.permille(300) && process.within(subscription.commit()).await.is_none() {
                    break;
                }
            }
        }
    }
}

fn is_planned(why: &str) -> bool {
    why.contains(PLANNED) || why.contains("no response in time")
}
