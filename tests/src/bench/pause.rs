//! What a cutover costs eight writers, in one process and in two, for a short history and a long.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::Options;
use rehome_workload::load::history::{Wanted, tenants};
use rehome_workload::load::observe::observe;
use rehome_workload::load::record::Record;
use rehome_workload::load::{check, journal};
use tokio::time::sleep;

use super::Sizes;
use super::child::{self, Working};
use super::harness::{self, DEDICATED, SHARED, Site};
use super::report::{Line, median};

/// What all writers together append, in events per second.
const RATE: f64 = 800.0;
/// How much longer the median pause of the long history may be, in milliseconds: a tenth of the
/// bound of a pause. Smaller differences are within the variance of a disk.
const LONGER_MAX: f64 = 5.0;

/// Bounds of pauses, in milliseconds.
pub(crate) struct Bounds {
    pub(crate) max: f64,
    pub(crate) median: Option<f64>,
    /// The numbers of writer processes; each number is measured separately.
    pub(crate) processes: &'static [u16],
}

/// Pauses of cutovers there and back.
pub(crate) async fn pauses(folder: &Path, sizes: &Sizes, bounds: &Bounds) -> Result<Vec<Line>> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let mut histories = tenants(1, sizes.large, 7);
    histories.extend(tenants(1, sizes.large / 100, 8));
    site.fill(&histories).await?;
    let mut lines = Vec::new();
    for &processes in bounds.processes {
        let mut pauses = vec![Vec::<Pause>::new(); histories.len()];
        // In turn, so that other load affects both.
        for _ in 0..sizes.returns {
            for (Wanted { tenant, .. }, pauses) in histories.iter().zip(&mut pauses) {
                pauses.extend(there_and_back(&site, folder, *tenant, processes).await?);
            }
        }
        let what = if processes == 1 { "1 process" } else { "2 processes" };
        for (Wanted { events, .. }, pauses) in histories.iter().zip(&pauses) {
            let name = format!("pause of a cutover, {events} events, {what}, max");
            let worst = pauses.iter().max_by(|a, b| a.seen.total_cmp(&b.seen));
            let worst = worst.copied().unwrap_or_default();
            let detail = format!(
                "median {:.1} ms of {} cutovers; the worst had {:.1} ms from intent to switch",
                middle(pauses),
                pauses.len(),
                worst.switch
            );
            lines.push(Line::at_most(name, worst.seen, bounds.max, " ms", detail));
            lines.extend(bounds.median.map(|bound| {
                let name = format!("pause of a cutover, {events} events, {what}, median");
                Line::at_most(name, middle(pauses), bound, " ms", "")
            }));
        }
        let (long, short) = (middle(&pauses[0]), middle(&pauses[1]));
        let name = format!("pause of the long history, less that of the short, {what}, median");
        let detail = format!("{long:.1} ms and {short:.1} ms");
        lines.push(Line::at_most(name, long - short, LONGER_MAX, " ms", detail));
    }
    site.close().await;
    Ok(lines)
}

/// A cutover, in milliseconds.
#[derive(Clone, Copy, Default)]
struct Pause {
    /// The longest that a writer saw.
    seen: f64,
    /// From the intent to the switch, by the log.
    switch: f64,
}

fn middle(pauses: &[Pause]) -> f64 {
    median(&pauses.iter().map(|pause| pause.seen).collect::<Vec<_>>())
}

/// The pauses of a cutover and of the one back.
async fn there_and_back(
    site: &Site,
    folder: &Path,
    tenant: TenantId,
    processes: u16,
) -> Result<Vec<Pause>> {
    let (here, elsewhere) = if processes == 1 { (8, 0) } else { (4, 4) };
    let share = |writers: u16| RATE * f64::from(writers) / 8.0;
    let load = site.load(tenant, here, Some(share(here)))?;
    let path = folder.join(format!("writers-{tenant}"));
    let mut other = None;
    if elsewhere > 0 {
        let rate = share(elsewhere).to_string();
        let args = [folder.as_os_str(), tenant.to_string().as_ref()].map(std::ffi::OsStr::to_owned);
        let mut command = child::command("load", &[&args[0], &args[1], path.as_os_str()])?;
        command.arg(elsewhere.to_string()).arg(rate);
        other = Some(Working::start(&mut command).await?);
    }
    sleep(Duration::from_millis(300)).await;
    let mut migrations = Vec::new();
    let options = Options { rollback_window_ms: 3_600_000, ..Options::default() };
    let mut moving = site.start(tenant, DEDICATED, options, |_| false).await?;
    loop {
        site.wait(moving.id, harness::is_switched).await?;
        migrations.push(moving.id);
        // The old source is level again before the way back.
        sleep(Duration::from_millis(400)).await;
        if migrations.len() == 2 {
            break;
        }
        let back = site.operations.start_return(moving.id, options).await?;
        moving.done().await?;
        moving = site.drive(back.id, |_| false);
    }
    let mut records = vec![load.stop(Duration::from_secs(10)).await];
    if let Some(other) = other {
        other.end().await?;
        records.push(read(path)?);
    }
    let checked = check::check(&check::Source::Router(&*site.router()), tenant, &records).await?;
    anyhow::ensure!(checked.is_clean(), "the writers' record and the store differ: {checked:?}");
    close_window(site, moving.id).await?;
    moving.done().await?;
    let mut pauses = Vec::new();
    for id in migrations {
        let timeline = site.timeline(id).await?;
        let switch = timeline.cutovers.last().map_or(0, |(from, to)| to - from);
        let seen = observe(&records, &timeline).pause.max_ms;
        pauses.push(Pause { seen, switch: switch as f64 / 1_000.0 });
    }
    Ok(pauses)
}

fn read(path: PathBuf) -> Result<Record> {
    let record = journal::read(&path)?;
    std::fs::remove_file(path)?;
    Ok(record)
}

async fn close_window(site: &Site, id: MigrationId) -> Result<()> {
    let tenant = site.engine.control().migration(id).await?.tenant;
    if let Some(route) = site.engine.control().route(tenant).await? {
        site.operations.close_window(&route).await?;
    }
    Ok(())
}

/// In a process of its own: writers with a record in a file, until the standard input is closed.
pub(crate) async fn load(
    folder: &Path,
    tenant: TenantId,
    journal: PathBuf,
    writers: u16,
    rate: f64,
) -> Result<()> {
    use rehome_workload::load::{Load, LoadOptions};
    use tokio::io::AsyncReadExt as _;

    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let options =
        LoadOptions { tenant, writers, rate: Some(rate), seed: 9, journal: Some(journal) };
    let load = Load::start(&site.router(), options)?;
    println!("writing");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    load.stop(Duration::from_secs(10)).await;
    site.close().await;
    Ok(())
}
