//! Compares the server with direct calls of the library, for the same callers and events; and measures the cost of
//! a thousand followers.
//!
//! The server is a separate process on the machine of its clients: both share its processors, which
//! affects the ratio.

mod callers;
mod http;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehome_app::{Access, CancellationToken, Config};
use rehome_domain::ids::TenantId;
use rehome_observe::Observed;
use rehome_server::Server;
use rehome_workload::load::history::tenants;
use rehome_workload::load::observe::Latencies;
use tokio::task::JoinSet;

use super::Sizes;
use super::child::{self, Working};
use super::harness::{self, DEDICATED, SHARED, Site};
use super::report::{Line, median};
use callers::{Caller, Work};
pub(crate) use http::Connection;
use http::Feed;

/// Callers at once.
const CALLERS: usize = 32;
/// Followers at once.
const FOLLOWERS: usize = 1_000;
/// Appends that all followers receive.
const APPENDS_FOLLOWED: usize = 20;
/// The file with a child's address.
const ADDRESS: &str = "address";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server in a process of its own.
pub(super) struct Serving {
    pub(super) child: Working,
    pub(super) address: SocketAddr,
    process: u32,
}

impl Serving {
    pub(super) async fn start(folder: &Path) -> Result<Self> {
        let mut command = child::command("serve", &[folder.as_os_str()])?;
        let child = Working::start(&mut command).await?;
        let said = fs::read_to_string(folder.join(ADDRESS))?;
        let (address, process) = said.split_once(' ').context("an address and a process")?;
        Ok(Self { child, address: address.parse()?, process: process.parse()? })
    }

    /// What it has resident now, in MiB (`VmRSS`, see proc(5)).
    pub(super) fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<f64>()? / 1_024.0)
    }
}

/// In a process of its own: serves until the standard input is closed.
pub(crate) async fn serve(folder: &Path) -> Result<()> {
    let server = |name: &str| harness::server(folder, name);
    let file = |name: &str| format!("sqlite:{}", folder.join(format!("{name}.db")).display());
    let url = |name: &str| server(name).unwrap_or_else(|| file(name));
    let mut variables = vec![
        ("REHOME_CONTROL_PLANE_URL".to_owned(), url(harness::CONTROL)),
        ("REHOME_STORES_SHARED_DEFAULT".to_owned(), "true".to_owned()),
        ("REHOME_SERVER_BIND".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    let stores = [SHARED, DEDICATED].into_iter().chain(super::fleet::TARGETS);
    for store in stores.filter(|name| server(name).is_some() || harness::is_file(folder, name)) {
        variables.push((format!("REHOME_STORES_{}_URL", store.to_uppercase()), url(store)));
    }
    let mut config = Config::load_from(None, variables)?;
    // All followers of the bench are one caller.
    config.server.limits.per_caller.followers_max = Some(u32::try_from(FOLLOWERS)?);
    let deployment = Observed::open(&config, Access::Create).await?;
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

/// Both kinds of callers in turn; the duration of each call, by kind.
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
    Ok(Line::at_least(name, gateway / library, 0.85, detail))
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
    let both = |pick: fn(&Latencies) -> f64| (middle(&library, pick), middle(&gateway, pick));
    let detail = |(library, gateway): (f64, f64)| format!("{gateway:.1} and {library:.1} ms");
    let name = |what: &str| format!("append {what} under a mixed load, gateway, of the library's");
    let (p50, p99) = (both(|seen| seen.p50_ms), both(|seen| seen.p99_ms));
    Ok(vec![
        Line::at_most(name("p50"), p50.1 / p50.0, 1.3, "", detail(p50)),
        Line::seen(name("p99"), p99.1 / p99.0, "", detail(p99)),
    ])
}

/// The followers' share of the server's memory, and the time until the last follower received an event.
async fn followers(serving: &Serving, tenant: TenantId) -> Result<Vec<Line>> {
    let mut writer = Caller::Gateway(Connection::open(serving.address).await?);
    let mut last = writer.call(tenant, 0, Work::Append).await?;
    let began = Instant::now();
    for _ in 0..APPENDS_FOLLOWED {
        last = writer.call(tenant, 0, Work::Append).await?;
    }
    let alone = began.elapsed();
    let before = serving.resident_mib()?;
    let mut feeds = Vec::new();
    for _ in 0..FOLLOWERS {
        feeds.push(Feed::open(serving.address, tenant, last).await?);
    }
    let end = last + APPENDS_FOLLOWED as u64;
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
    for _ in 0..APPENDS_FOLLOWED {
        writer.call(tenant, 0, Work::Append).await?;
    }
    let appended = began.elapsed();
    // They continue to follow until the memory was measured.
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
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(vec![
        Line::seen(format!("memory of {FOLLOWERS} followers"), after - before, " MiB", detail),
        Line::at_most(
            format!("appends with {FOLLOWERS} followers, of appends without"),
            millis(appended) / millis(alone),
            1.5,
            "",
            format!(
                "{APPENDS_FOLLOWED} appends, one after the other: {:.0} and {:.0} ms",
                millis(appended),
                millis(alone)
            ),
        ),
        Line::seen(
            format!("until the last of {FOLLOWERS} followers was told"),
            millis(late),
            " ms",
            "",
        ),
    ])
}
