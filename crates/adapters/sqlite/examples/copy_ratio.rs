//! How fast a tenant is copied, next to the fastest that SQLite itself can do.
//!
//! ```text
//! cargo run --release -p rehome-sqlite --example copy_ratio [events]
//! ```
//!
//! The yardstick is `INSERT ... SELECT` over `ATTACH` into the same tables, with the same indexes
//! and the same durability, nobody else writing. It checks nothing and runs in C; the copy reads,
//! decodes, checks the hash chain and writes through the port. Beside the ratio: the peak of the
//! memory for a tenth of the history and for all of it, and how long another process had to wait
//! for the write lock while the copy ran.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent};
use rehome_domain::ids::{Epoch, EventId, TenantId};
use rehome_domain::ledger::{Activation, Head};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::clock::SystemClock;
use rehome_ports::{BatchLimit, LedgerStore};
use rehome_sqlite::{SqliteStore, SqliteStoreOptions};
use rusqlite::Connection;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Done<T> = Result<T, Failure>;

const EVENTS: u64 = 300_000;
const STREAMS: u64 = 2_000;
const M: Epoch = Epoch(2);

fn tenant() -> TenantId {
    TenantId::new(uuid::Uuid::from_u128(0x7e57_0000_0000_4000_8000_0000_0000_0001))
}

#[tokio::main]
async fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["copy", from, to, batch, ahead] => {
            let took = copy(from.as_ref(), to.as_ref(), batch.parse()?, *ahead == "ahead").await?;
            println!("{} {}", took.as_secs_f64(), memory_peak_kib());
            Ok(())
        }
        ["compete", file, every_us, until] => {
            compete(file.as_ref(), Duration::from_micros(every_us.parse()?), until.as_ref())
        }
        ["empty", file] => {
            open(file.as_ref(), true).await?.close().await;
            Ok(())
        }
        ["make", file, events] => make(file.as_ref(), events.parse()?).await,
        ["raw", from, to] => {
            open(to.as_ref(), true).await?.close().await;
            println!("{:?}", raw_copy(from.as_ref(), to.as_ref())?);
            Ok(())
        }
        ["append", file, seconds] => append_for(file.as_ref(), seconds.parse()?).await,
        [] => report(EVENTS).await,
        [events] => report(events.parse()?).await,
        _ => Err("usage: copy_ratio [events]".into()),
    }
}

async fn report(events: u64) -> Done<()> {
    let folder = tempfile::tempdir()?;
    let (large, small) = (folder.path().join("large.db"), folder.path().join("small.db"));
    make(&large, events).await?;
    make(&small, events / 10).await?;
    println!("{events} events in {STREAMS} streams, file {} MiB", size_mib(&large)?);

    let mut raw = Vec::new();
    for round in 0..3 {
        let to = folder.path().join(format!("raw{round}.db"));
        open(&to, true).await?.close().await;
        let took = raw_copy(&large, &to)?;
        println!(
            "raw INSERT SELECT   {took:?}  {:.0} events/s",
            events as f64 / took.as_secs_f64()
        );
        raw.push(took.as_secs_f64());
        remove(&to);
    }
    let raw = median(&mut raw);

    for ahead in ["ahead", "in-turn"] {
        for batch in ["1000", "2000", "10000", "50000"] {
            let mut times = Vec::new();
            let mut memory = 0;
            for round in 0..3 {
                let to = folder.path().join(format!("copy{round}.db"));
                let (took, peak) = run_copy(&large, &to, batch, ahead)?;
                times.push(took);
                memory = peak;
                remove(&to);
            }
            let to = folder.path().join("copy-small.db");
            let (_, memory_small) = run_copy(&small, &to, batch, ahead)?;
            remove(&to);
            let took = median(&mut times);
            println!(
                "copy {ahead:>7} batch {batch:>5}  {took:.3} s  {:.0} events/s  ratio {:.2}  peak {} MiB, a tenth of the history {} MiB ({:+.1} %)",
                events as f64 / took,
                raw / took,
                memory >> 10,
                memory_small >> 10,
                (memory as f64 / memory_small as f64 - 1.0) * 100.0,
            );
        }
    }
    for every_us in ["0", "1000", "20000", "200000"] {
        let to = folder.path().join("contended.db");
        let until = folder.path().join("until");
        let _ = std::fs::remove_file(&until);
        open(&to, true).await?.close().await;
        let rival = this(&["compete", text(&to), every_us, text(&until)])?;
        std::thread::sleep(Duration::from_millis(300));
        let (took, _) = run_copy(&large, &to, "10000", "ahead")?;
        std::fs::write(&until, "")?;
        let waits = String::from_utf8(rival.wait_with_output()?.stdout)?;
        println!(
            "copy with a rival writing every {every_us} us: {took:.3} s, ratio {:.2}; {waits}",
            raw / took
        );
        remove(&to);
    }
    let to = folder.path().join("append.db");
    let appends = this(&["append", text(&to), "5"])?.wait_with_output()?;
    println!("{}", String::from_utf8(appends.stdout)?);
    Ok(())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn this(arguments: &[&str]) -> Done<Child> {
    Ok(Command::new(std::env::current_exe()?).args(arguments).stdout(Stdio::piped()).spawn()?)
}

fn run_copy(from: &Path, to: &Path, batch: &str, ahead: &str) -> Done<(f64, u64)> {
    let answer = this(&["copy", text(from), text(to), batch, ahead])?.wait_with_output()?;
    let answer = String::from_utf8(answer.stdout)?;
    let (seconds, kib) = answer.trim().split_once(' ').ok_or("the copy failed")?;
    Ok((seconds.parse()?, kib.parse()?))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn size_mib(path: &Path) -> Done<u64> {
    Ok(std::fs::metadata(path)?.len() >> 20)
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
}

/// The most memory that this process had, in KiB.
fn memory_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

async fn open(path: &Path, create: bool) -> Done<SqliteStore> {
    let options = SqliteStoreOptions {
        id: "bench".parse()?,
        path: path.to_owned(),
        deployment: "bench".to_owned(),
        create,
        clock: Arc::new(SystemClock),
    };
    Ok(SqliteStore::open(options).await?)
}

/// Spread over all 128 bits, as random ids are.
fn scrambled(n: u64) -> u128 {
    let mut x = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    x ^= x >> 61;
    x.wrapping_mul(0xd6e8_feb8_6659_fd93_a0b4_28db_85eb_ca77)
}

fn new_event(n: u64) -> Done<NewEvent> {
    let id = uuid::Uuid::from_u128(scrambled(n));
    Ok(NewEvent {
        id: EventId::new(id),
        event_type: EventType::new("order_line_added")?,
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted(format!(
            r#"{{"order":"{id}","line":{n},"sku":"sku-{:08}","quantity":{},"price":"{}.99","note":"{:0>96}"}}"#,
            n % 10_000,
            n % 7,
            n % 500,
            n
        )),
        metadata: Json::trusted(format!(
            r#"{{"correlation_id":"{n:032x}","user":"u{}"}}"#,
            n % 999
        )),
    })
}

async fn make(path: &Path, events: u64) -> Done<()> {
    let store = open(path, true).await?;
    let route = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(tenant(), route).await?;
    let mut n = 0;
    while n < events {
        let appends = (0..1_000)
            .map(|_| {
                n += 1;
                Ok(Append {
                    stream: StreamName::new(
                        "order",
                        format!("order-{:06}", scrambled(n) % u128::from(STREAMS)),
                    )?,
                    expected: ExpectedVersion::Any,
                    events: vec![new_event(n)?],
                })
            })
            .collect::<Done<Vec<_>>>()?;
        for outcome in store.append(tenant(), Epoch(1), &appends).await? {
            outcome?;
        }
    }
    store.close().await;
    Ok(())
}

fn raw_copy(from: &Path, to: &Path) -> Done<Duration> {
    let conn = Connection::open(to)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -8192")?;
    conn.execute("ATTACH ?1 AS source", [text(from)])?;
    let begun = Instant::now();
    conn.execute_batch(
        "BEGIN IMMEDIATE;
         INSERT INTO ledger SELECT * FROM source.ledger;
         INSERT INTO streams SELECT * FROM source.streams WHERE tenant_no = 1;
         INSERT INTO events (position, stream_no, version, event_id, event_type, occurred_at,
                             recorded_at, data, metadata, digest)
         SELECT position, stream_no, version, event_id, event_type, occurred_at,
                recorded_at, data, metadata, digest
         FROM source.events WHERE position BETWEEN 1 << 40 AND (2 << 40) - 1 ORDER BY position;
         COMMIT;",
    )?;
    Ok(begun.elapsed())
}

async fn copy(from: &Path, to: &Path, batch: usize, ahead: bool) -> Done<Duration> {
    let (source, target) = (Arc::new(open(from, false).await?), open(to, true).await?);
    target.adopt(tenant(), M, Head::EMPTY).await?;
    let limit = BatchLimit { events: batch, bytes: 64 << 20 };
    let begun = Instant::now();
    let mut head = Head::EMPTY;
    let read = |after| {
        let source = Arc::clone(&source);
        async move { source.read_feed(tenant(), after, limit).await }
    };
    let mut feed = read(0).await?;
    while let Some(last) = feed.events.last() {
        let next = ahead.then(|| tokio::spawn(read(last.seq)));
        let last = Head::of(last);
        while head != last {
            let done = usize::try_from(head.seq + 1 - feed.events[0].seq)?;
            head = target.extend(tenant(), M, head, &feed.events[done..]).await?;
        }
        feed = match next {
            Some(next) => next.await??,
            None => read(last.seq).await?,
        };
    }
    let took = begun.elapsed();
    if source.ledger(tenant()).await?.head != head {
        return Err("the copy is not the source".into());
    }
    Ok(took)
}

/// Writes one row again and again, as another process would, and says how long it waited for the
/// lock.
fn compete(file: &Path, every: Duration, until: &Path) -> Done<()> {
    let mut conn = Connection::open(file)?;
    conn.execute_batch("PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS rival (n INTEGER);")?;
    conn.busy_handler(Some(|_| {
        std::thread::sleep(Duration::from_micros(100));
        true
    }))?;
    let mut waits = Vec::new();
    while !until.exists() {
        let begun = Instant::now();
        conn.execute_batch("BEGIN IMMEDIATE")?;
        waits.push(begun.elapsed().as_secs_f64() * 1e3);
        conn.execute_batch("INSERT INTO rival VALUES (1); COMMIT")?;
        std::thread::sleep(every);
    }
    waits.sort_by(f64::total_cmp);
    let at = |per_mille: usize| waits[(waits.len() - 1) * per_mille / 1_000];
    println!(
        "it wrote {} times and waited p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms for the lock",
        waits.len(),
        at(500),
        at(990),
        at(1_000)
    );
    Ok(())
}

/// One writer appending one event at a time: the latency that a checkpoint can spoil.
async fn append_for(file: &Path, seconds: u64) -> Done<()> {
    let store = open(file, true).await?;
    let route = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(tenant(), route).await?;
    let (begun, mut n, mut took) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < Duration::from_secs(seconds) {
        n += 1;
        let append = Append {
            stream: StreamName::new("order", format!("{}", n % 1_000))?,
            expected: ExpectedVersion::Any,
            events: vec![new_event(n)?],
        };
        let asked = Instant::now();
        store.append(tenant(), Epoch(1), &[append]).await?;
        took.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1_000];
    println!(
        "{n} appends one after the other: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
    Ok(())
}
