//! The resources that the process that moves a tenant uses in each phase: processor, memory, disk, network. Writers
//! are in another process. The numbers are the kernel's (proc(5)); without `/proc` there are none.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehome_domain::ids::TenantId;
use rehome_workload::load::history::{Wanted, tenants};
use tokio::time::sleep;

use super::Sizes;
use super::child::{self, Working};
use super::harness::{self, DEDICATED, SHARED, Site};
use super::report::Line;

/// What the writers together append, in events per second.
const RATE: &str = "400";
const MIB: f64 = (1 << 20) as f64;

/// A line for each phase and resource.
pub(crate) async fn table(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let wanted: Vec<Wanted> = tenants(1, sizes.large, 11);
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    site.fill(&wanted).await?;
    site.close().await;
    let tenant = wanted[0].tenant.to_string();
    let journal = folder.join("writers");
    let mut writers =
        child::command("load", &[folder.as_os_str(), tenant.as_ref(), journal.as_os_str()])?;
    writers.args(["4", RATE]);
    let writers = Working::start(&mut writers).await?;
    let period = sizes.period.as_millis().to_string();
    let args = [folder.as_os_str(), tenant.as_ref(), period.as_ref()];
    let answer = child::answer("resources", &args).await?;
    writers.end().await?;
    let mut lines = Vec::new();
    for row in answer.lines() {
        let mut fields = row.split(' ');
        let phase = fields.next().context("a row without its phase")?;
        let numbers: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>()?;
        ensure!(numbers.len() == NAMES.len() + 1, "a row of another length: {row}");
        for ((name, unit), number) in NAMES.into_iter().zip(&numbers[1..]) {
            let detail =
                format!("{:.2} s, {} events, {RATE} events/s written", numbers[0], sizes.large);
            lines.push(Line::seen(format!("{phase}: {name}"), *number, unit, detail));
        }
    }
    Ok(lines)
}

/// The columns of a row behind its seconds.
const NAMES: [(&str, &str); 5] = [
    ("processor, of one core", " %"),
    ("memory, resident", " MiB"),
    ("disk, read", " MiB/s"),
    ("disk, written", " MiB/s"),
    ("network, of the whole host", " MiB/s"),
];

/// In a process of its own: moves the tenant and prints a row for each phase.
pub(crate) async fn child(folder: &Path, tenant: TenantId, period: Duration) -> Result<()> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let begun = Taken::now()?;
    let moving = site.start(tenant, DEDICATED, harness::manual(), harness::is_switched).await?;
    let id = moving.id;
    site.wait(id, |row| row.state.phase() == rehome_domain::migration::Phase::DualWrite).await?;
    let copied = Taken::now()?;
    site.wait_until_ready(id).await?;
    // Read back and verified: from here on it only mirrors.
    let verified = Taken::now()?;
    sleep(period).await;
    let mirrored = Taken::now()?;
    site.operations.request_cutover(id).await?;
    moving.done().await?;
    let switched = Taken::now()?;
    site.close().await;
    for (phase, from, to) in [
        ("bulk_copy", &begun, &copied),
        ("verification", &copied, &verified),
        ("dual_write", &verified, &mirrored),
        ("cutover", &mirrored, &switched),
    ] {
        println!("{}", to.row(phase, from));
    }
    Ok(())
}

/// The resources that this process, and the host's network, had used at a moment.
struct Taken {
    at: Instant,
    cpu_seconds: f64,
    resident_bytes: f64,
    read_bytes: f64,
    written_bytes: f64,
    network_bytes: f64,
}

impl Taken {
    fn now() -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/self/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("{path} is not readable"))
        };
        let (stat, io, status, net) =
            (read("stat")?, read("io")?, read("status")?, read("net/dev")?);
        Ok(Self {
            at: Instant::now(),
            cpu_seconds: cpu_ticks(&stat)? / rustix::param::clock_ticks_per_second() as f64,
            resident_bytes: field(&status, "VmRSS:")? * 1_024.0,
            read_bytes: field(&io, "read_bytes:")?,
            written_bytes: field(&io, "write_bytes:")?,
            network_bytes: network_bytes(&net),
        })
    }

    /// The phase, its seconds, and the numbers of [`NAMES`].
    fn row(&self, phase: &str, from: &Self) -> String {
        let seconds = (self.at - from.at).as_secs_f64().max(1e-6);
        let rate = |to: f64, from: f64| (to - from).max(0.0) / seconds;
        let numbers = [
            rate(self.cpu_seconds, from.cpu_seconds) * 100.0,
            self.resident_bytes / MIB,
            rate(self.read_bytes, from.read_bytes) / MIB,
            rate(self.written_bytes, from.written_bytes) / MIB,
            rate(self.network_bytes, from.network_bytes) / MIB,
        ];
        let numbers = numbers.map(|number| format!("{number:.3}")).join(" ");
        format!("{phase} {seconds:.3} {numbers}")
    }
}

/// What this process has had written to disks.
pub(crate) fn written_bytes() -> Result<f64> {
    let io = std::fs::read_to_string("/proc/self/io").context("/proc/self/io is not readable")?;
    field(&io, "write_bytes:")
}

fn field(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().context("no number")?.parse()?)
}

/// User and system time: fields 14 and 15, counted from behind the name in brackets.
fn cpu_ticks(stat: &str) -> Result<f64> {
    let (_, fields) = stat.rsplit_once(')').context("a stat without a name")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let tick = |index: usize| {
        fields.get(index).context("a short stat")?.parse::<f64>().context("a number")
    };
    Ok(tick(11)? + tick(12)?)
}

/// What all interfaces have sent: what goes through the loopback is counted once.
fn network_bytes(net: &str) -> f64 {
    let sent = |line: &str| line.split_once(':')?.1.split_whitespace().nth(8)?.parse::<f64>().ok();
    net.lines().filter_map(sent).sum()
}
