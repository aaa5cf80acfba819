//! A subscriber that follows the feed, and a reader that requests its end. They record each event in a file, one line
//! each, immediately; `rehome_tests::checker` documents the lines and the conditions on them.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use rehome_domain::ids::TenantId;
use rehome_engine::{Engine, Subscription};
use rehome_ports::{BatchLimit, Class, ControlError, EventStore as _};
use tokio_util::sync::CancellationToken;

/// Most events of one answer.
const AT_ONCE: usize = 1_000;
/// The most events after which a subscriber stores its checkpoint.
const KEEP_EVERY: u64 = 50;
/// Time between two reads of a reader, and before a retry.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A record that others may continue: a subscriber keeps one over all its processes.
struct Record {
    file: File,
    began: Instant,
    unix: Duration,
}

impl Record {
    fn open(path: &Path) -> Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        let (began, unix) =
            (Instant::now(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?);
        let record = Self { file, began, unix };
        // A line that a kill has cut off must not run into the next one.
        let text = std::fs::read(path)?;
        if text.last().is_some_and(|last| *last != b'\n') {
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            record.file.set_len(whole as u64)?;
        }
        Ok(record)
    }

    /// Microseconds since 1970; never goes back.
    fn now(&self) -> u128 {
        (self.unix + self.began.elapsed()).as_micros()
    }

    /// One write of a whole line.
    fn write(&self, line: &str) -> Result<()> {
        (&self.file).write_all(format!("{line}\n").as_bytes()).context("the record")
    }
}

/// Follows the feed under `name` until `stop`, and then to its end.
pub(crate) async fn subscribe(
    engine: Engine,
    tenant: TenantId,
    name: String,
    record: std::path::PathBuf,
    stop: CancellationToken,
) -> Result<()> {
    let record = Record::open(&record)?;
    let mut subscription = loop {
        match Subscription::open(&engine, tenant, name.clone()).await {
            Ok(subscription) => break subscription,
            Err(error) => wait_out(&error).await?,
        }
    };
    record.write(&format!("B {} {}", record.now(), subscription.position()))?;
    let mut kept = subscription.position();
    let limit = BatchLimit::events(AT_ONCE);
    loop {
        let events = tokio::select! {
            biased;
            events = subscription.next(limit) => events?,
            () = stop.cancelled() => {
                let rest = engine.router().read_feed(tenant, subscription.position(), limit).await;
                match rest {
                    Ok(rest) if rest.is_empty() => break,
                    // It is handed out by the subscription, as everything is.
                    Ok(_) => subscription.next(limit).await?,
                    Err(_) => {
                        tokio::time::sleep(LOOK_EVERY).await;
                        continue;
                    }
                }
            }
        };
        for event in events {
            record.write(&format!("E {} {}", event.seq, event.id))?;
        }
        if subscription.position() - kept >= KEEP_EVERY {
            match subscription.commit().await {
                Ok(()) => {
                    kept = subscription.position();
                    record.write(&format!("C {} {kept}", record.now()))?;
                }
                // The next checkpoint covers it.
                Err(rehome_ports::ReadError::Control(error)) => wait_out(&error).await?,
                Err(rehome_ports::ReadError::Store(error)) if !error.is_damage() => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => anyhow::bail!("the subscription's checkpoint: {error}"),
            }
        }
    }
    Ok(())
}

/// Reads the end of the feed repeatedly until `stop`.
pub(crate) async fn read(
    engine: Engine,
    tenant: TenantId,
    record: std::path::PathBuf,
    stop: CancellationToken,
) -> Result<()> {
    let record = Record::open(&record)?;
    let mut last = 0_u64;
    while !stop.is_cancelled() {
        // The last one that it saw must still be there.
        let after = last.saturating_sub(1);
        let begun = record.now();
        let answer = engine.router().read_feed(tenant, after, BatchLimit::events(AT_ONCE)).await;
        if let Ok(events) = answer {
            let kind = if events.len() < AT_ONCE { 'Q' } else { 'P' };
            let (seq, id) = events
                .last()
                .map_or((after, "-".to_owned()), |event| (event.seq, event.id.to_string()));
            record.write(&format!("{kind} {begun} {} {after} {seq} {id}", record.now()))?;
            last = seq;
        }
        // A reader without a wait would starve the writers.
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    Ok(())
}

/// Waits a moment if the error is transient; otherwise returns it.
async fn wait_out(error: &ControlError) -> Result<()> {
    if error.class() == Class::Fatal {
        anyhow::bail!("the subscription's checkpoint: {error}");
    }
    tokio::time::sleep(LOOK_EVERY).await;
    Ok(())
}
