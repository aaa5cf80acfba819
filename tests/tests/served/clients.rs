//! Writers, a follower and an operator that know one address, and record the responses.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rehome_tests::history::TENANT;
use serde_json::{Value, json};

use crate::http::{Answer, Feed, Seen, ask};

/// Longest time of retries; only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(120);
/// The responses after which `docs/http.md` requires a retry.
const AGAIN: [(u16, &str); 7] = [
    (429, "too_many_appends"),
    (429, "too_many_requests"),
    (503, "writes_paused"),
    (503, "unavailable"),
    (503, "outcome_unknown"),
    (503, "timed_out"),
    (503, "stopping"),
];
/// Events after which a follower comes back by another connection.
const COMES_BACK_AFTER: usize = 40;
/// Who writes, the last two to one stream.
pub(crate) const WRITERS: u64 = 4;

/// What all clients share.
pub(crate) struct Clients {
    address: SocketAddr,
    /// Whether a connection may break or end: a server is killed or stopped.
    may_break: bool,
    folder: PathBuf,
    done: AtomicBool,
    /// The position at which followers are done; 0 while it is not known.
    last: AtomicU64,
    acked: Vec<AtomicU64>,
    /// How often which answer was not the last one.
    again: Mutex<BTreeMap<String, u64>>,
}

fn now() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())
}

impl Clients {
    pub(crate) fn new(address: SocketAddr, may_break: bool, folder: &Path) -> Self {
        Self {
            address,
            may_break,
            folder: folder.to_owned(),
            done: AtomicBool::new(false),
            last: AtomicU64::new(0),
            acked: (0..WRITERS).map(|_| AtomicU64::new(0)).collect(),
            again: Mutex::default(),
        }
    }

    /// The record of a writer.
    pub(crate) fn record(&self, writer: u64) -> PathBuf {
        self.folder.join(format!("writer-{writer}.record"))
    }

    /// The record of the follower.
    pub(crate) fn seen(&self) -> PathBuf {
        self.folder.join("follower.seen")
    }

    /// The responses that required a retry, and their number.
    pub(crate) fn again(&self) -> BTreeMap<String, u64> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends all clients.
    pub(crate) fn stop(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// The number of acknowledged appends of each writer.
    pub(crate) fn acked(&self) -> Vec<u64> {
        self.acked.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// The final response. Only documented responses may precede it.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answered = ask(self.address, method, path, headers, body);
            let wait = match answered {
                Ok(answer) if ![429, 503].contains(&answer.status) => {
                    ensure!(answer.status < 500, "{method} {path}: {answer:?}");
                    return Ok(answer);
                }
                Ok(answer) => self.comes_again(&answer)?,
                Err(error) => self.broke(&error)?,
            };
            ensure!(Instant::now() < deadline, "{method} {path}: no answer");
            std::thread::sleep(wait);
        }
    }

    /// The wait that the response requests.
    fn comes_again(&self, answer: &Answer) -> Result<Duration> {
        ensure!(AGAIN.contains(&(answer.status, answer.problem())), "not documented: {answer:?}");
        let seconds = answer.retry_after.with_context(|| format!("no Retry-After: {answer:?}"))?;
        self.count(answer.problem());
        Ok(Duration::from_secs(seconds))
    }

    fn broke(&self, error: &io::Error) -> Result<Duration> {
        ensure!(self.may_break, "a connection broke, and no server was killed: {error}");
        self.count("a broken connection");
        Ok(Duration::from_millis(100))
    }

    fn count(&self, what: &str) {
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        *again.entry(what.to_owned()).or_default() += 1;
    }

    /// Appends until stopped; sends each event with the same id until it is acknowledged.
    pub(crate) fn write(&self, writer: u64) -> Result<()> {
        let mut record = File::create(self.record(writer))?;
        let shared = writer >= WRITERS / 2;
        let stream = if shared { "all".to_owned() } else { format!("of-{writer}") };
        let path = format!("/v1/tenants/{TENANT}/streams/order/{stream}/events");
        let (mut append, mut version) = (0, 0);
        while !self.done.load(Ordering::Relaxed) {
            let ids = (0..=append % 3)
                .map(|event| format!("20000000-0000-4000-8000-{writer:02x}{append:08x}{event:02x}"))
                .collect::<Vec<_>>();
            let events: Vec<_> = ids
                .iter()
                .map(|id| json!({"event_id": id, "event_type": "Changed", "data": {"n": append}}))
                .collect();
            // Two of them state an expected version, and get a conflict if it is wrong.
            let expected = if shared { json!("any") } else { json!(version) };
            let body = json!({"expected_version": expected, "events": events});
            writeln!(record, "S {writer} {append} {} order {stream} - {}", now()?, ids.join(","))?;
            let answer = self.ask("POST", &path, &[], Some(&body))?;
            ensure!(answer.status == 201, "writer {writer}, append {append}: {answer:?}");
            let said = |field: &str| answer.body[field].as_u64().context("a number");
            version = said("last_version")?;
            writeln!(
                record,
                "A {writer} {append} {} {} {version} {} {}",
                now()?,
                said("first_version")?,
                said("first_seq")?,
                said("last_seq")?
            )?;
            self.acked[usize::try_from(writer)?].fetch_add(1, Ordering::Relaxed);
            append += 1;
        }
        Ok(())
    }

    /// Follows the feed, reconnects again and again, and stores its checkpoint
    /// where every server finds it.
    pub(crate) fn follow(&self) -> Result<()> {
        let mut record = File::create(self.seen())?;
        let events = format!("/v1/tenants/{TENANT}/events");
        let checkpoint = format!("/v1/tenants/{TENANT}/subscriptions/follower");
        let mut at = 0;
        let mut heard = Instant::now();
        writeln!(record, "B {} {at}", now()?)?;
        loop {
            let (mut feed, mut seen) = (self.open(&events, at)?, 0);
            while seen < COMES_BACK_AFTER && !self.is_over(at) {
                match feed.look() {
                    Ok(Seen::Event(seq, id)) => {
                        writeln!(record, "E {seq} {id}")?;
                        (at, seen, heard) = (seq, seen + 1, Instant::now());
                    }
                    Ok(Seen::Nothing) => {
                        ensure!(heard.elapsed() < PATIENCE, "nothing comes after {at}");
                    }
                    Ok(Seen::End) => {
                        ensure!(self.may_break, "the feed ended after {at}, and no server stopped");
                        self.count("a feed that ended");
                        break;
                    }
                    Err(error) => {
                        self.broke(&error)?;
                        break;
                    }
                }
            }
            drop(feed);
            let kept = self.ask("PUT", &checkpoint, &[], Some(&json!({ "seq": at })))?;
            ensure!(kept.status == 200, "{kept:?}");
            writeln!(record, "C {} {at}", now()?)?;
            if self.is_over(at) {
                return Ok(());
            }
            // By the other server.
            let found = self.ask("GET", &checkpoint, &[], None)?;
            at = found.body["seq"].as_u64().with_context(|| format!("{found:?}"))?;
            writeln!(record, "B {} {at}", now()?)?;
        }
    }

    fn open(&self, path: &str, after: u64) -> Result<Feed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wait = match Feed::open(self.address, path, after) {
                Ok(Ok(feed)) => return Ok(feed),
                Ok(Err(answer)) => self.comes_again(&answer)?,
                Err(error) => self.broke(&error)?,
            };
            ensure!(Instant::now() < deadline, "no feed");
            std::thread::sleep(wait);
        }
    }

    /// Nothing comes after this position.
    pub(crate) fn ends_at(&self, last: u64) {
        self.last.store(last, Ordering::Relaxed);
    }

    fn is_over(&self, at: u64) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && at >= last
    }
}
