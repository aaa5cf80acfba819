//! A store of many small tenants and some large ones is emptied into two by servers, of which the second is added
//! half-way, while tenants that stay are written to.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehome_domain::ids::TenantId;
use rehome_workload::load::Load;
use rehome_workload::load::history::Wanted;
use rehome_workload::load::observe::Latencies;
use rehome_workload::load::record::Sent;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Sizes;
use super::gateway::{Connection, Serving};
use super::harness::{self, CONTROL, SHARED, Site};
use super::report::Line;

/// The stores that the tenants move to.
pub(crate) const TARGETS: [&str; 2] = ["a", "b"];
/// Events of a small tenant.
const EVENTS: u64 = 100;
/// Migrations at once.
const AT_ONCE: u32 = 8;
/// Tenants that stay and are written to, and appends per second to each.
const STAYING: (u64, f64) = (4, 25.0);
/// How long they are written to before the drain.
const BEFORE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest that a scrape, a list or a page may take, in milliseconds.
const WITHIN_MS: f64 = 100.0;
/// Longest duration of a drain.
const PATIENCE: Duration = Duration::from_secs(4 * 3_600);

/// How many tenants there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    /// Tenants of [`EVENTS`] events.
    pub(crate) small: u64,
    /// Others, and the events of each.
    pub(crate) large: (u64, u64),
}

impl Fleet {
    pub(crate) const ALL: Self = Self { small: 10_000, large: (20, 100_000) };

    const fn tenants(self) -> u64 {
        self.small + self.large.0
    }
}

fn tenant(n: u64) -> TenantId {
    TenantId::new(Uuid::from_u128(0x7a_0000_0000 + u128::from(n)))
}

/// Requests to a server, and the longest duration of each kind.
struct Asked {
    connection: Connection,
    longest: Vec<(&'static str, f64)>,
    /// Bytes of the last scrape.
    scraped: usize,
}

impl Asked {
    async fn open(address: SocketAddr) -> Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection, longest: Vec::new(), scraped: 0 })
    }

    async fn get(&mut self, what: &'static str, path: &str) -> Result<Vec<u8>> {
        let began = Instant::now();
        let (status, body) = self.connection.ask("GET", path, "").await?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
        match self.longest.iter_mut().find(|(known, _)| *known == what) {
            Some((_, longest)) => *longest = longest.max(took),
            None => self.longest.push((what, took)),
        }
        Ok(body)
    }

    async fn drain(&mut self, id: Uuid) -> Result<Value> {
        let (status, body) = self.connection.ask("GET", &format!("/v1/drains/{id}"), "").await?;
        ensure!(status == 200, "the drain: {status}");
        Ok(serde_json::from_slice(&body)?)
    }

    /// One request of each kind that people and Prometheus send.
    async fn all(&mut self, id: Uuid) -> Result<()> {
        self.scraped = self.get("scrape", "/metrics").await?.len();
        self.get("list of tenants", "/v1/tenants?limit=50").await?;
        self.get("list of migrations", "/v1/migrations?limit=50").await?;
        self.get("console page of the drain", &format!("/drains/{id}")).await?;
        self.get("console page of migrations", "/migrations").await?;
        Ok(())
    }
}

/// Writers of the tenants that stay.
fn writers(site: &Site, fleet: Fleet) -> Result<Vec<Load>> {
    let (staying, rate) = STAYING;
    (0..staying).map(|n| site.load(tenant(fleet.tenants() + n), 1, Some(rate))).collect()
}

async fn latencies(loads: Vec<Load>) -> Latencies {
    let mut micros = Vec::new();
    for load in loads {
        let record = load.stop(Duration::from_secs(10)).await;
        micros.extend(record.appends().filter_map(Sent::latency));
    }
    Latencies::of(micros)
}

/// Bytes of the control plane.
async fn control_bytes(folder: &Path) -> Result<f64> {
    let Some(url) = harness::server(folder, CONTROL) else {
        let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |file| file.len());
        return Ok((size("control.db") + size("control.db-wal")) as f64);
    };
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let row = client.query_one("SELECT pg_database_size(current_database())", &[]).await?;
    drop(client);
    connection.await??;
    Ok(row.try_get::<_, i64>(0)? as f64)
}

/// Empties the store, and reports what that costs.
pub(crate) async fn numbers(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let fleet = sizes.fleet;
    let site = Site::open(folder, &[SHARED, TARGETS[0], TARGETS[1]]).await?;
    let staying = fleet.tenants()..fleet.tenants() + STAYING.0;
    let events =
        |n: u64| if n >= fleet.small && n < fleet.tenants() { fleet.large.1 } else { EVENTS };
    let wanted = (0..staying.end).map(|n| Wanted { tenant: tenant(n), events: events(n) });
    site.fill(&wanted.collect::<Vec<_>>()).await?;
    let before = writers(&site, fleet)?;
    tokio::time::sleep(BEFORE).await;
    let before = latencies(before).await;
    let size = control_bytes(folder).await?;
    let first = Serving::start(folder).await?;
    let mut asked = Asked::open(first.address).await?;
    let id = Uuid::new_v4();
    let target = |name: &str| json!({ "store": name });
    let exclude: Vec<String> = staying.map(|n| tenant(n).to_string()).collect();
    let request = json!({
        "from": [SHARED],
        "to": TARGETS.map(target),
        "exclude": exclude,
        "settings": { "concurrency": AT_ONCE },
    });
    let during = writers(&site, fleet)?;
    let began = Instant::now();
    let start = json!({ "id": id, "request": request }).to_string();
    let (status, body) = asked.connection.ask("POST", "/v1/drains", &start).await?;
    ensure!(status < 300, "the start: {status} {}", String::from_utf8_lossy(&body));
    let (mut second, mut early) = (None, None);
    let ended = loop {
        tokio::time::sleep(LOOK_EVERY).await;
        asked.all(id).await?;
        let drain = asked.drain(id).await?;
        let moved = drain["moved"].as_u64().context("a number of tenants")?;
        if early.is_none() && moved >= fleet.tenants() / 10 {
            early = Some((first.resident_mib()?, asked.scraped));
        }
        if second.is_none() && moved >= fleet.tenants() / 2 {
            let at = began.elapsed().as_secs_f64();
            second = Some((Serving::start(folder).await?, moved, at));
        }
        if drain["state"] == "finished" {
            break drain;
        }
        ensure!(began.elapsed() < PATIENCE, "it takes too long: {drain}");
    };
    let seconds = began.elapsed().as_secs_f64();
    let moved = ended["moved"].as_u64().unwrap_or_default();
    ensure!(moved == fleet.tenants(), "not all have moved: {ended}");
    let during = latencies(during).await;
    let mut lines = Lines { fleet, found: Vec::new() };
    lines.rates(seconds, second.as_ref());
    lines.sizes(&site, (size, control_bytes(folder).await?)).await?;
    let now = (first.resident_mib()?, asked.scraped);
    lines.flat(early.unwrap_or(now), now);
    lines.times(&asked.longest);
    lines.writers(&before, &during);
    if let Some((second, ..)) = second {
        second.child.end().await?;
    }
    first.child.end().await?;
    site.close().await;
    Ok(lines.found)
}

struct Lines {
    fleet: Fleet,
    found: Vec<Line>,
}

impl Lines {
    fn rates(&mut self, seconds: f64, second: Option<&(Serving, u64, f64)>) {
        let (tenants, (large, events)) = (self.fleet.tenants(), self.fleet.large);
        let what = format!(
            "{} tenants of {EVENTS} events and {large} of {events}, {AT_ONCE} at once, in {seconds:.0} s",
            self.fleet.small
        );
        let rate = tenants as f64 / seconds;
        self.found.push(Line::seen("fleet, tenants per second", rate, "/s", what));
        if let Some((_, moved, at)) = second {
            let (before, after) = (*moved as f64 / at, (tenants - moved) as f64 / (seconds - at));
            let what = format!("{before:.0}/s before a second server, {after:.0}/s with it");
            self.found.push(Line::seen("fleet, with a second server", after / before, "", what));
        }
    }

    async fn sizes(&mut self, site: &Site, (before, after): (f64, f64)) -> Result<()> {
        let control = site.engine.control();
        let route = control.route(tenant(0)).await?.and_then(|route| route.migration);
        let (migration, _) = route.context("a migration of the first tenant")?;
        let own = site.log(migration).await?.len() as f64;
        let name = "fleet, log entries of a migration";
        self.found.push(Line::seen(name, own, "", "beside the drain's"));
        let each = (after - before) / self.fleet.tenants() as f64 / 1024.0;
        let what = "rows, logs and indices, with what the database keeps free";
        self.found.push(Line::seen("fleet, control plane per tenant", each, " KiB", what));
        Ok(())
    }

    fn flat(&mut self, early: (f64, usize), end: (f64, usize)) {
        let memory = format!("{:.0} MiB after a tenth, {:.0} MiB at the end", early.0, end.0);
        self.found.push(Line::seen("fleet, memory of a server", end.0 / early.0, "", memory));
        let kib = |bytes: usize| bytes as f64 / 1024.0;
        let what =
            format!("{:.0} KiB after a tenth, {:.0} KiB at the end", kib(early.1), kib(end.1));
        let ratio = end.1 as f64 / early.1 as f64;
        self.found.push(Line::seen("fleet, size of a scrape", ratio, "", what));
    }

    fn times(&mut self, longest: &[(&'static str, f64)]) {
        for (what, took) in longest {
            let name = format!("fleet, longest {what} meanwhile");
            self.found.push(Line::at_most(name, *took, WITHIN_MS, "ms", ""));
        }
    }

    fn writers(&mut self, before: &Latencies, during: &Latencies) {
        let what = format!("p99 {:.1} ms before, {:.1} ms meanwhile", before.p99_ms, during.p99_ms);
        let ratio = during.p99_ms / before.p99_ms;
        self.found.push(Line::at_most("fleet, p99 of tenants that stay", ratio, 1.2, "", what));
    }
}
