//! Writers in processes of their own.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rehome_domain::ids::TenantId;
use rehome_ports::clock::{Clock as _, SystemClock};
use rehome_ports::private;

use super::journal::{self, Journal};
use super::mixed;
use super::plain::{Plain, PlainEvent};
use crate::load::observe::Latencies;
use crate::quickstart::folder::Folder;
use crate::quickstart::{PATIENCE, QuickstartOptions, SOURCE, Seen, TARGET};
use rehome_app::Config;
use rehome_app::error::AppError;

/// Before a refused append is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(1);
/// The window of recent values.
const LATELY_MICROS: i64 = 1_000_000;

/// One writer, as the process that it is knows itself.
#[derive(Clone, Debug)]
pub struct PlainWriter {
    /// The configuration with the stores that may have the tenant.
    pub config: PathBuf,
    /// Whose events.
    pub tenant: String,
    /// Which writer it is.
    pub number: u64,
    /// What ids are made of.
    pub seed: u64,
    /// Events per second.
    pub rate: f64,
    /// The file of its record.
    pub journal: PathBuf,
}

/// Event `version` of a writer.
pub(super) fn event(seed: u64, writer: u64, version: i64, at: &str) -> PlainEvent {
    PlainEvent {
        id: mixed(seed ^ (writer + 1), version.unsigned_abs()).to_string(),
        stream: stream(seed, writer),
        version,
        at: at.to_owned(),
        // The order of the keys is that of a jsonb column.
        payload: format!(
            "{{\"note\": \"é \\\"quoted\\\"\", \"writer\": {writer}, \"version\": {version}}}"
        ),
    }
}

/// The stream of a writer.
pub(super) fn stream(seed: u64, writer: u64) -> String {
    mixed(seed.rotate_left(32), 1 << 60 | writer).to_string()
}

/// Writes until its standard input ends. What the hidden command `plain-writer` does.
pub async fn write(writer: &PlainWriter) -> Result<(), AppError> {
    let io = |error: std::io::Error| AppError::failed("journal", error.to_string());
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    std::thread::spawn(move || {
        // The parent has stopped it, or is gone.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
    });
    let config = Config::load_from(Some(&writer.config), [])?;
    let mut stores = Vec::new();
    for store in [SOURCE, TARGET] {
        stores.push(Plain::open(&config, store, &writer.tenant).await?);
    }
    let mut journal =
        private::options().append(true).create(true).open(&writer.journal).map_err(io)?;
    let mut note = |line: String| journal::note(&mut journal, &line).map_err(io);
    let now = || SystemClock.now().micros();
    let began = Instant::now();
    let (mut version, mut at) = (0, 0);
    while !stopped.load(Ordering::Relaxed) {
        version += 1;
        let event = event(writer.seed, writer.number, version, "2026-01-01T00:00:00+00:00");
        note(format!("sent {}", now()))?;
        loop {
            match stores[at].append(std::slice::from_ref(&event)).await {
                Ok(()) => break,
                Err(words) => note(format!("refused {} {}", now(), words.replace('\n', " ")))?,
            }
            at = (at + 1) % stores.len();
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        note(format!("acked {}", now()))?;
        let due = Duration::from_secs_f64(version as f64 / writer.rate);
        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
    }
    Ok(())
}

/// The processes, and what they have noted.
pub(super) struct Writers {
    all: Vec<One>,
    journals: Mutex<Vec<Journal>>,
}

struct One {
    process: Child,
    journal: PathBuf,
}

impl Drop for One {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Writers {
    pub(super) fn start(
        options: &QuickstartOptions,
        folder: &Folder,
        tenant: TenantId,
    ) -> Result<Self, AppError> {
        let program = std::env::current_exe().map_err(|error| {
            AppError::failed("writers", format!("the path of this program is unknown: {error}"))
        })?;
        let rate = options.rate / f64::from(options.writers);
        let all = (0..options.writers).map(|number| {
            let journal = folder.path.join(format!("writer-{number}.log"));
            let process = Command::new(&program)
                .arg("plain-writer")
                .arg(&folder.config)
                .args(["--tenant", &tenant.to_string()])
                .args(["--number", &number.to_string(), "--seed", &options.seed.to_string()])
                .args(["--rate", &rate.to_string()])
                .arg("--journal")
                .arg(&journal)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .map_err(|error| {
                    AppError::failed("writers", format!("a writer did not start: {error}"))
                })?;
            Ok(One { process, journal })
        });
        let all = all.collect::<Result<Vec<_>, AppError>>()?;
        let journals = Mutex::new(all.iter().map(|_| Journal::default()).collect());
        Ok(Self { all, journals })
    }

    /// What they have seen lately.
    pub(super) fn seen(&self) -> Seen {
        let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        let since = SystemClock.now().micros() - LATELY_MICROS;
        let (mut acked, mut lately) = (0, Vec::new());
        for (one, journal) in self.all.iter().zip(journals.iter_mut()) {
            // A writer that has not started yet has recorded nothing.
            let _ = journal.read_on(&one.journal);
            acked += journal.acked();
            let recent = journal.appends.iter().rev();
            let recent = recent.take_while(|sent| sent.ack().is_none_or(|ack| ack.at >= since));
            lately.extend(recent.filter_map(crate::load::record::Sent::latency));
        }
        Seen { acked, lately: Latencies::of(lately) }
    }

    /// Ends them, and reads all that they have noted.
    pub(super) async fn stop(mut self) -> Result<Vec<Journal>, AppError> {
        for one in &mut self.all {
            drop(one.process.stdin.take());
        }
        let began = Instant::now();
        for one in &mut self.all {
            while !has_ended(&mut one.process)? && began.elapsed() < PATIENCE {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let mut journals =
            std::mem::take(&mut *self.journals.lock().unwrap_or_else(PoisonError::into_inner));
        for (one, journal) in self.all.iter().zip(&mut journals) {
            read(journal, &one.journal)?;
        }
        Ok(journals)
    }
}

fn has_ended(process: &mut Child) -> Result<bool, AppError> {
    let ended = process.try_wait();
    let ended = ended.map_err(|error| AppError::failed("writers", error.to_string()))?;
    Ok(ended.is_some())
}

fn read(journal: &mut Journal, path: &Path) -> Result<(), AppError> {
    journal.read_on(path).map_err(|error| {
        AppError::failed("journal", format!("a writer's record, {}: {error}", path.display()))
    })
}
