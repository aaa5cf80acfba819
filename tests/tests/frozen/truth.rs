//! The expected state: the responses of the test's writers and their waits, and the contents of the stores by
//! its own SQL.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rehome_monitor::http;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use uuid::Uuid;

/// A number that was somewhere between two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Range {
    pub(crate) fn of(low: impl Into<f64>, high: impl Into<f64>) -> Self {
        Self { low: low.into(), high: high.into() }
    }

    pub(crate) fn has(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The difference; never below 0.
    pub(crate) fn less(self, other: Self) -> Self {
        Self::of((self.low - other.high).max(0.0), (self.high - other.low).max(0.0))
    }

    /// With so much room on both sides.
    pub(crate) fn around(self, room: f64) -> Self {
        Self::of((self.low - room).max(0.0), self.high + room)
    }
}

/// A number at each time at which it was read, or changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track(Vec<(Instant, u64)>);

impl Track {
    fn add(&mut self, value: u64) {
        self.0.push((Instant::now(), value));
    }

    /// What it was at a time, and all that it was from then on until another.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Range {
        let before = self.0.iter().rev().find(|(at, _)| *at <= from);
        let within = self.0.iter().filter(|(at, _)| (from..=to).contains(at));
        let values = || before.into_iter().chain(within.clone()).map(|(_, value)| *value as f64);
        let first = self.0.first().map_or(0.0, |(_, value)| *value as f64);
        Range {
            low: values().reduce(f64::min).unwrap_or(first),
            high: values().reduce(f64::max).unwrap_or(first),
        }
    }
}

/// Where a store is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Server(String),
    File(PathBuf),
}

impl Place {
    /// How long the tenant's history is there.
    async fn head(&self, tenant: Uuid) -> Result<u64> {
        match self {
            Self::Server(url) => {
                let (client, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
                let connection = tokio::spawn(connection);
                let sql = "SELECT coalesce(max(seq), 0) FROM rehome.ledger WHERE tenant = $1";
                let row = client.query_one(sql, &[&tenant]).await;
                connection.abort();
                Ok(row?.get::<_, i64>(0).unsigned_abs())
            }
            Self::File(path) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let file = Connection::open_with_flags(path, flags)?;
                let sql = "SELECT coalesce(max(seq), 0) FROM ledger WHERE tenant = ?1";
                let seq = file.query_row(sql, [tenant.as_bytes()], |row| row.get::<_, i64>(0));
                Ok(seq?.unsigned_abs())
            }
        }
    }
}

/// One tenant's writers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) writers: usize,
    /// Events of one append.
    pub(crate) events: u64,
    /// Between two appends of a writer.
    pub(crate) pause: Duration,
}

#[derive(Default)]
struct Told {
    acked: Track,
    count: u64,
    /// Of each writer, since when it waits for an answer.
    waiting: Vec<Option<Instant>>,
    /// The first that waits since the last answer that was good.
    asked: Option<Instant>,
    answered: Option<Instant>,
}

/// The writers of one tenant, and their responses.
#[derive(Clone, Default)]
pub(crate) struct Writers(Arc<Mutex<Told>>);

impl Writers {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts them against the gateway on that port. Each sends an append until it is acknowledged.
    pub(crate) fn start(
        &self,
        port: u16,
        tenant: Uuid,
        load: Load,
        stop: &Arc<AtomicBool>,
    ) -> Vec<JoinHandle<()>> {
        let first = self.told().waiting.len();
        self.told().waiting.resize(first + load.writers, None);
        (first..first + load.writers)
            .map(|nth| {
                let (writers, stop) = (self.clone(), Arc::clone(stop));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        writers.append(port, tenant, nth, load.events);
                        thread::sleep(load.pause);
                    }
                })
            })
            .collect()
    }

    fn append(&self, port: u16, tenant: Uuid, nth: usize, events: u64) {
        let event =
            |_| json!({"event_id": Uuid::new_v4(), "event_type": "Touched", "data": {"by": nth}});
        let document = json!({
            "stream_type": "order", "stream_id": Uuid::new_v4().to_string(),
            "events": (0..events).map(event).collect::<Vec<_>>(),
        });
        let path = format!("/v1/tenants/{tenant}/append");
        loop {
            {
                let now = Instant::now();
                let mut told = self.told();
                told.waiting[nth] = Some(now);
                told.asked.get_or_insert(now);
            }
            let answer = http::post(port, &path, &document);
            let mut told = self.told();
            told.waiting[nth] = None;
            if answer.is_ok_and(|answer| answer.status == 201) {
                told.count += events;
                let count = told.count;
                told.acked.add(count);
                (told.asked, told.answered) = (None, Some(Instant::now()));
                return;
            }
            drop(told);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Acknowledged events, at some time between these.
    pub(crate) fn acked(&self, from: Instant, to: Instant) -> Range {
        self.told().acked.between(from, to)
    }

    /// Acknowledged events until now.
    pub(crate) fn count(&self) -> u64 {
        self.told().count
    }

    /// The current state.
    pub(crate) fn now(&self) -> Waits {
        let told = self.told();
        let since = told.waiting.iter().flatten();
        let blocked = told.asked.max(told.answered).filter(|_| since.clone().next().is_some());
        Waits {
            writers: since.clone().count(),
            longest: since.map(Instant::elapsed).max().unwrap_or_default(),
            blocked: blocked.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}

/// Who waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) writers: usize,
    /// For how long the one that waits longest does.
    pub(crate) longest: Duration,
    /// For how long none was acknowledged.
    pub(crate) blocked: Duration,
}

/// Histories that are read continuously, by name.
pub(crate) struct Heads {
    tracks: Arc<Mutex<BTreeMap<&'static str, Track>>>,
    stop: Arc<AtomicBool>,
    looking: Option<JoinHandle<()>>,
}

impl Heads {
    /// A read every quarter of a second; one without a response within a second counts as none.
    pub(crate) fn watch(of: Vec<(&'static str, Place, Uuid)>) -> Result<Self> {
        let tracks: Arc<Mutex<BTreeMap<_, Track>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (written, stopped) = (Arc::clone(&tracks), Arc::clone(&stop));
        let looking = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for (name, place, tenant) in &of {
                    let second = Duration::from_secs(1);
                    let look = async { tokio::time::timeout(second, place.head(*tenant)).await };
                    if let Ok(Ok(seq)) = runtime.block_on(look) {
                        let mut tracks = written.lock().unwrap_or_else(PoisonError::into_inner);
                        tracks.entry(*name).or_default().add(seq);
                    }
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        Ok(Self { tracks, stop, looking: Some(looking) })
    }

    pub(crate) fn between(&self, name: &str, from: Instant, to: Instant) -> Range {
        let tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        tracks.get(name).map_or(Range::of(0.0, 0.0), |track| track.between(from, to))
    }

    /// As it was seen last.
    pub(crate) fn last(&self, name: &str) -> Result<u64> {
        let tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        let last = tracks.get(name).and_then(|track| track.0.last()).map(|(_, value)| *value);
        last.ok_or_else(|| anyhow!("{name} was never seen"))
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(looking) = self.looking.take() {
            // A panic has printed its message.
            let _ = looking.join();
        }
    }
}
