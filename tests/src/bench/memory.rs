//! Peak memory of a process that copies: it must not grow with the history.

use std::path::Path;

use anyhow::{Context as _, Result};
use rehome_domain::ids::TenantId;
use rehome_domain::migration::Options;
use rehome_workload::load::history::{Wanted, tenants};

use super::Sizes;
use super::child;
use super::harness::{self, DEDICATED, SHARED, Site};
use super::report::{Line, median};

const ROUNDS: usize = 5;

/// Peak resident memory at ten times the events, over that at the events.
pub(crate) async fn ratio(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let (small, large) = peaks(folder, sizes, ROUNDS, |_| Ok(())).await?;
    let detail = format!("{small:.1} MiB and {large:.1} MiB");
    let name =
        format!("peak memory of a migration, {} events of {}", sizes.large, sizes.large / 10);
    Ok(vec![Line::at_most(name, large / small, 1.1, "", detail)])
}

/// Peak resident memory, whatever the length of the history; in MiB. `prepare` is called for each
/// new folder.
pub(crate) async fn bound(
    folder: &Path,
    sizes: &Sizes,
    max: f64,
    prepare: impl Fn(&Path) -> Result<()>,
) -> Result<Vec<Line>> {
    let (small, large) = peaks(folder, sizes, 1, prepare).await?;
    let name = |events: u64| format!("peak memory of a migration, {events} events");
    Ok(vec![
        Line::at_most(name(sizes.large / 10), small, max, " MiB", ""),
        Line::at_most(name(sizes.large), large, max, " MiB", ""),
    ])
}

/// The medians for a tenth of the events and for all, in MiB.
async fn peaks(
    folder: &Path,
    sizes: &Sizes,
    rounds: usize,
    prepare: impl Fn(&Path) -> Result<()>,
) -> Result<(f64, f64)> {
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for (events, peaks) in [(sizes.large / 10, &mut small), (sizes.large, &mut large)] {
            let folder = folder.join(format!("memory-{round}-{events}"));
            std::fs::create_dir_all(&folder)?;
            prepare(&folder)?;
            let wanted: Vec<Wanted> = tenants(2, events, 4);
            let site = Site::open(&folder, &[SHARED, DEDICATED]).await?;
            site.fill(&wanted).await?;
            site.close().await;
            let tenant = wanted[0].tenant.to_string();
            let answer = child::answer("copy", &[folder.as_os_str(), tenant.as_ref()]).await?;
            peaks.push(answer.trim().parse::<f64>().context("the child's peak")? / 1024.0);
            std::fs::remove_dir_all(&folder)?;
        }
    }
    Ok((median(&small), median(&large)))
}

/// In a process of its own: migrates the tenant and prints the peak, in KiB.
pub(crate) async fn child(folder: &Path, tenant: TenantId) -> Result<()> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let moving = site.start(tenant, DEDICATED, Options::default(), harness::is_switched).await?;
    moving.done().await?;
    println!("{}", peak_kib()?);
    Ok(())
}

/// The most memory that this process ever had resident (`VmHWM`, see proc(5)).
fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc is not readable")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
    Ok(kib.parse()?)
}
