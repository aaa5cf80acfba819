//! What an import and a migration of random event ids write to SQLite files, beside one
//! `INSERT ... SELECT` of the same rows in the same run; and what writers notice of it.
//!
//! Bytes are the kernel's own count for a process (`write_bytes`, see proc(5)), so each measurement is a process.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rehome_app::Config;
use rehome_app::transfer::{ImportRequest, Input, import};
use rehome_domain::ids::TenantId;
use rehome_domain::migration::Options;
use rehome_workload::load::history::tenants;
use rehome_workload::load::observe::Latencies;
use rehome_workload::load::record::Sent;
use rehome_workload::load::sample::{self, Draw};

use super::child;
use super::copy::raw_copy;
use super::harness::{self, DEDICATED, SHARED, Site};
use super::report::Line;
use super::{Sizes, resources};

/// The file that is imported.
const INPUT: &str = "history.ndjson";
/// Events of a stream, one after the other.
const STREAM_EVENTS: u64 = 10;
/// How many events a growing history is compared with, as a part of all.
const SMALL_PART: u64 = 30;
/// How long the writers write that begin when an import has ended.
const WRITING: Duration = Duration::from_secs(3);

/// What a process did.
struct Did {
    seconds: f64,
    bytes: f64,
}

impl Did {
    fn read(answer: &str) -> Result<Self> {
        let mut fields = answer.split_whitespace();
        let mut next = || fields.next().context("a child's answer is cut short");
        Ok(Self { seconds: next()?.parse()?, bytes: next()?.parse()? })
    }
}

/// Bytes written for each byte of history, times against the raw statement, and the growth of both.
pub(crate) async fn ratios(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let (events, few) = (sizes.history, sizes.history / SMALL_PART);
    let small = measure(&folder.join("small"), few).await?;
    let large = measure(&folder.join("large"), events).await?;
    let Measured { imported, moved, copy_seconds, raw, history, longest_ms } = &large;
    let per_byte = |did: &Did| did.bytes / history;
    let detail = |did: &Did| {
        let mib = f64::from(1 << 20);
        format!(
            "{:.0} MiB, history {:.0} MiB, {:.1} s",
            did.bytes / mib,
            history / mib,
            did.seconds
        )
    };
    let rate = |measured: &Measured, events: u64| events as f64 / measured.copy_seconds;
    let name = |what: &str| format!("{what}, {events} events");
    Ok(vec![
        Line::at_most(
            name("written by an import for a byte of history"),
            per_byte(imported),
            4.0,
            "",
            detail(imported),
        ),
        Line::at_most(
            name("written by a migration for a byte of history"),
            per_byte(moved),
            4.0,
            "",
            detail(moved),
        ),
        Line::seen(
            name("written by INSERT ... SELECT for a byte of history"),
            per_byte(raw),
            "",
            detail(raw),
        ),
        Line::at_most(
            name("migration with read-back, of INSERT ... SELECT"),
            moved.seconds / raw.seconds,
            1.5,
            "",
            format!(
                "{:.1} s and {:.1} s, of it the copy {copy_seconds:.1} s",
                moved.seconds, raw.seconds
            ),
        ),
        Line::at_least(
            name(&format!("copy rate, of that of {few} events")),
            rate(&large, events) / rate(&small, few),
            0.85,
            format!("{:.0} and {:.0} events/s", rate(&large, events), rate(&small, few)),
        ),
        Line::at_most(name("longest append after an import"), *longest_ms, 50.0, " ms", ""),
    ])
}

struct Measured {
    imported: Did,
    moved: Did,
    copy_seconds: f64,
    raw: Did,
    /// Bytes of the lines' contents as a store has them: the file after `INSERT ... SELECT`.
    history: f64,
    longest_ms: f64,
}

async fn measure(folder: &Path, events: u64) -> Result<Measured> {
    std::fs::create_dir_all(folder)?;
    let tenant = tenants(1, 1, 12)[0].tenant;
    let input = folder.join(INPUT);
    let lines = input.clone();
    tokio::task::spawn_blocking(move || write_lines(&lines, tenant, events)).await??;
    let task = |name: &'static str| {
        let tenant = tenant.to_string();
        async move { child::answer(name, &[folder.as_os_str(), tenant.as_ref()]).await }
    };

    // Another process has the store open, as a server has.
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let imported = Did::read(&task("import").await?)?;
    let load = site.load(tenant, 4, None)?;
    tokio::time::sleep(WRITING).await;
    let record = load.stop(Duration::from_secs(30)).await;
    let seen = Latencies::of(record.appends().filter_map(Sent::latency).collect());
    site.close().await;

    let raw = Did::read(&task("raw").await?)?;
    let answer = task("move").await?;
    let moved = Did::read(&answer)?;
    let copy_seconds = answer.split_whitespace().nth(2).context("no copy")?.parse()?;
    let history = std::fs::metadata(folder.join("raw-whole.db"))?.len() as f64;
    std::fs::remove_dir_all(folder)?;
    Ok(Measured { imported, moved, copy_seconds, raw, history, longest_ms: seen.max_ms })
}

/// Lines of streams of ten events, with random ids.
fn write_lines(path: &Path, tenant: TenantId, events: u64) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for first in (0..events).step_by(usize::try_from(STREAM_EVENTS)?) {
        let mut draw = Draw::new(&[first, 0x11E5]);
        let stream = draw.uuid();
        for number in first..(first + STREAM_EVENTS).min(events) {
            let content = sample::content(Draw::new(&[number, 0x11E6]), sample::ORDER);
            writeln!(
                out,
                r#"{{"tenant_id":"{tenant}","stream_type":"{}","stream_id":"{stream}","event_id":"{}","event_type":"{}","data":{},"metadata":{}}}"#,
                sample::ORDER,
                draw.uuid(),
                &*content.event_type,
                content.data.as_str(),
                content.metadata.as_str(),
            )?;
        }
    }
    out.flush()?;
    Ok(())
}

/// In a process of its own: imports the folder's lines.
pub(crate) async fn import_child(folder: &Path) -> Result<()> {
    let url = |name: &str| format!("sqlite:{}", folder.join(format!("{name}.db")).display());
    let variables = [
        ("REHOME_CONTROL_PLANE_URL", url(harness::CONTROL)),
        ("REHOME_STORES_SHARED_URL", url(SHARED)),
        ("REHOME_STORES_SHARED_DEFAULT", "true".to_owned()),
        ("REHOME_STORES_DEDICATED_URL", url(DEDICATED)),
    ];
    let config = Config::load_from(None, variables.map(|(name, url)| (name.to_owned(), url)))?;
    let input = Input::new(folder.join(INPUT), None);
    let request = ImportRequest { input, store: None, allow_empty: false };
    let began = Instant::now();
    import(&config, &request, |_| {}).await?;
    print(began)
}

/// In a process of its own: migrates the tenant.
pub(crate) async fn move_child(folder: &Path, tenant: TenantId) -> Result<()> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let began = Instant::now();
    let moving = site.start(tenant, DEDICATED, Options::default(), harness::is_switched).await?;
    let id = moving.id;
    moving.done().await?;
    print(began)?;
    println!("{}", site.copy_seconds(id).await?);
    site.close().await;
    Ok(())
}

/// In a process of its own: the raw statement.
pub(crate) async fn raw_child(folder: &Path, tenant: TenantId) -> Result<()> {
    let site = Site::open(folder, &[SHARED]).await?;
    let began = Instant::now();
    raw_copy(&site, tenant, "whole").await?;
    print(began)?;
    site.close().await;
    Ok(())
}

fn print(began: Instant) -> Result<()> {
    println!("{} {}", began.elapsed().as_secs_f64(), resources::written_bytes()?);
    Ok(())
}
