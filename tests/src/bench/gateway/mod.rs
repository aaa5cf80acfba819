//! The server against the library called directly, with as many callers and the same events; and what
//! a thousand followers take.
//!
//! The server is a process of its own, on the machine of its clients: both use its processors, which
//! is what the ratio tells.

mod callers;
mod http;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehome_app::load::history::tenants;
use rehome_app::load::observe::Latencies;
use rehome_app::{Access, CancellationToken, Config, Deployment};
use rehome_domain::ids::TenantId;
use rehome_server::Server;
use tokio::task::JoinSet;

use super::Sizes;
use super::child::{self, Working};
use super::report::{Line, median};
use super::site::{self, DEDICATED, SHARED, Site};
use callers::{Caller, Work};
use http::{Connection, Feed};

/// Callers at once.
const CALLERS: usize = 32;
/// Followers at once.
const FOLLOWERS: usize = 1_000;
/// Appends that all of them are told of.
const TOLD: usize = 20;
/// Where a child says that it listens.
const ADDRESS: &str = "address";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server in a process of its own.
struct Serving {
    child: Working,
    address: SocketAddr,
    process: u32,
}

impl Serving {
    async fn start(folder: &Path) -> Result<Self> {
        let mut command = child::command("serve", &[folder.as_os_str()])?;
        let child = Working::start(&mut command).await?;
        let said = fs::read_to_string(folder.join(ADDRESS))?;
        let (address, process) = said.split_once(' ').context("an address and a process")?;
        Ok(Self { child, address: address.parse()?, process: process.parse()? })
    }

    /// What it has resident now, in MiB (`VmRSS`, see proc(5)).
    fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<f64>()? / 1_024.0)
    }
}

/// In a process of its own: serves until the standard input is closed.
pub(crate) async fn serve(folder: &Path) -> Result<()> {
    let server = |name: &str| site::server(folder, name);
    let file = |name: &str| format!("sqlite:{}", folder.join(format!("{name}.db")).display());
    let url = |name: &str| server(name).unwrap_or_else(|| file(name));
    let variables = [
        ("REHOME_CONTROL_PLANE_URL", url(site::CONTROL)),
        ("REHOME_STORES_SHARED_URL", url(SHARED)),
        ("REHOME_STORES_SHARED_DEFAULT", "true".to_owned()),
        ("REHOME_STORES_DEDICATED_URL", url(DEDICATED)),
        ("REHOME_SERVER_BIND", "127.0.0.1:0".to_owned()),
    ];
    let mut config = Config::load_from(None, variables.map(|(name, url)| (name.to_owned(), url)))?;
    // All followers of the bench are one caller.
    config.server.limits.per_caller.followers_max = Some(u32::try_from(FOLLOWERS)?);
    let deployment = Deployment::open(&config, Access::Create).await?;
    let server = Server::bind(deployment.clone()).await?;
    fs::write(folder.join(ADDRESS), format!("{} {}", server.address(), std::process::id()))?;
    println!("listening");
    let stop = CancellationToken::new();
    let until = stop.clone();
    let running = tokio::spawn(async move { server.run(&until).await });
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    stop.cancel();
    running.await?;
    deployment.close().await;
    Ok(())
}

/// Appends per second, latencies of a mixed load, and followers.
pub(crate) async fn numbers(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let wanted = tenants(1, sizes.large / 100, 7);
    let tenant = wanted[0].tenant;
    site.fill(&wanted).await?;
    let serving = Serving::start(folder).await?;
    let mut lines = vec![appends(&site, &serving, tenant, sizes).await?];
    lines.extend(mixed(&site, &serving, tenant, sizes).await?);
    lines.extend(followers(&serving, tenant).await?);
    site.close().await;
    serving.child.end().await?;
    Ok(lines)
}

/// Callers of both kinds, in turns; what each call took, by kind of caller.
async fn in_turns(
    site: &Site,
    serving: &Serving,
    tenant: TenantId,
    sizes: &Sizes,
    work: fn(usize) -> Work,
) -> Result<(Vec<Latencies>, Vec<Latencies>)> {
    let (mut library, mut gateway) = (Vec::new(), Vec::new());
    for _ in 0..sizes.pairs {
        for (seen, through) in [(&mut library, false), (&mut gateway, true)] {
            let mut callers = Vec::new();
            for _ in 0..CALLERS {
                callers.push(if through {
                    Caller::Gateway(Connection::open(serving.address).await?)
                } else {
                    Caller::Library(site.router())
                });
            }
            seen.push(period(callers, tenant, sizes.period, work).await?);
        }
    }
    Ok((library, gateway))
}

/// All callers work for so long, each as fast as it is answered; the latencies of appends.
async fn period(
    callers: Vec<Caller>,
    tenant: TenantId,
    time: Duration,
    work: fn(usize) -> Work,
) -> Result<Latencies> {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for (number, mut caller) in callers.into_iter().enumerate() {
        tasks.spawn(async move {
            let (work, mut micros) = (work(number), Vec::new());
            while began.elapsed() < time {
                let sent = Instant::now();
                caller.call(tenant, number, work).await?;
                micros.push(u64::try_from(sent.elapsed().as_micros())?);
            }
            let is_append = matches!(work, Work::Append);
            anyhow::Ok(if is_append { micros } else { Vec::new() })
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done??);
    }
    Ok(Latencies::of(all))
}

fn middle(seen: &[Latencies], pick: fn(&Latencies) -> f64) -> f64 {
    median(&seen.iter().map(pick).collect::<Vec<_>>())
}

async fn appends(site: &Site, serving: &Serving, tenant: TenantId, sizes: &Sizes) -> Result<Line> {
    let (library, gateway) = in_turns(site, serving, tenant, sizes, |_| Work::Append).await?;
    let rate =
        |seen: &[Latencies]| middle(seen, |seen| seen.count as f64) / sizes.period.as_secs_f64();
    let (library, gateway) = (rate(&library), rate(&gateway));
    let name = format!("appends through the gateway, {CALLERS} callers, of the library's");
    let detail = format!("{gateway:.0} and {library:.0} appends/s");
    Ok(Line::seen(name, gateway / library, "", detail))
}

async fn mixed(
    site: &Site,
    serving: &Serving,
    tenant: TenantId,
    sizes: &Sizes,
) -> Result<Vec<Line>> {
    // Half of them append, a quarter each reads streams and feeds.
    let work = |number: usize| match number % 4 {
        0 => Work::ReadStream,
        1 => Work::ReadFeed,
        _ => Work::Append,
    };
    let (library, gateway) = in_turns(site, serving, tenant, sizes, work).await?;
    let line = |what: &str, pick: fn(&Latencies) -> f64| {
        let (library, gateway) = (middle(&library, pick), middle(&gateway, pick));
        let detail = format!("{library:.1} ms in the library");
        Line::seen(format!("append {what} under a mixed load, gateway"), gateway, " ms", detail)
    };
    Ok(vec![line("p50", |seen| seen.p50_ms), line("p99", |seen| seen.p99_ms)])
}

/// What followers take of the server's memory, and how long until the last one was told.
async fn followers(serving: &Serving, tenant: TenantId) -> Result<Vec<Line>> {
    let mut writer = Caller::Gateway(Connection::open(serving.address).await?);
    let last = writer.call(tenant, 0, Work::Append).await?;
    let before = serving.resident_mib()?;
    let mut feeds = Vec::new();
    for _ in 0..FOLLOWERS {
        feeds.push(Feed::open(serving.address, tenant, last).await?);
    }
    let end = last + TOLD as u64;
    let mut tasks = JoinSet::new();
    for mut feed in feeds {
        tasks.spawn(async move {
            for expected in last + 1..=end {
                let seq = feed.next().await?;
                ensure!(seq == expected, "{seq} instead of {expected}");
            }
            Ok(feed)
        });
    }
    let began = Instant::now();
    for _ in 0..TOLD {
        writer.call(tenant, 0, Work::Append).await?;
    }
    let appended = began.elapsed();
    // They go on following until the memory has been looked at.
    let mut told = Vec::new();
    let all = async {
        while let Some(feed) = tasks.join_next().await {
            told.push(feed??);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, all).await.context("followers were not told in time")??;
    let late = began.elapsed().saturating_sub(appended);
    let after = serving.resident_mib()?;
    drop(told);
    let detail = format!("{before:.0} MiB before, {after:.0} MiB with them");
    Ok(vec![
        Line::seen(format!("memory of {FOLLOWERS} followers"), after - before, " MiB", detail),
        Line::seen(
            format!("until the last of {FOLLOWERS} followers was told"),
            late.as_secs_f64() * 1e3,
            " ms",
            format!(
                "{TOLD} appends, one after the other, took {:.0} ms",
                appended.as_secs_f64() * 1e3
            ),
        ),
    ])
}
