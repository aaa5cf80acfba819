//! A tenant moves while the server of one role, a cluster with failover, loses its primary.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::Patroni;

use super::cluster::{Load, Stage};
use super::draw::Draw;
use super::processes::{Cast, Who, Work};
use super::{Server, Servers};
use crate::checker::{Moment, hex};
use crate::process::wait_for;

const LOAD: Load = Load { writers: 3, rate: 100 };
const APPS: [Who; 2] = Who::APPS;
const DRIVER: Who = Who::Driver(0);
/// How much longer than a failover a writer may wait: its connection finds the new primary, and its append comes
/// after those that waited before it.
const SLACK: Duration = Duration::from_secs(6);

/// When the primary is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    BulkCopy,
    DualWrite,
    CutoverPaused,
}

const PHASES: [Phase; 3] = [Phase::BulkCopy, Phase::DualWrite, Phase::CutoverPaused];
/// Where in the cutover.
const POINTS: [&str; 6] = [
    "cutover.intent",
    "cutover.fenced",
    "cutover.caught_up",
    "cutover.compared",
    "cutover.switched",
    "cutover.activated",
];

/// How it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `kill -9` to Patroni and the server.
    Killed,
    /// SIGSTOP to both; when another is the primary, the server wakes, and a new Patroni finds it.
    Stopped,
}

const FAULTS: [Fault; 2] = [Fault::Killed, Fault::Stopped];

/// What is lost, when and how.
#[derive(Clone, Copy, Debug)]
pub struct Failover {
    server: Server,
    phase: Phase,
    fault: Fault,
    point: &'static str,
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, phase, fault, point } = self;
        write!(f, "{server:?} {fault:?} in {phase:?}")?;
        if *phase == Phase::CutoverPaused { write!(f, " at {point}") } else { Ok(()) }
    }
}

/// One for each server, by a kill, such that each phase has one; a seed draws the rest.
pub fn some_failovers(seed: u64) -> Vec<Failover> {
    let mut draw = Draw::new(seed);
    let first = draw.below(3);
    let one = |(number, server)| {
        let phase = PHASES[usize::try_from((number + first) % 3).unwrap_or_default()];
        Failover { server, phase, fault: Fault::Killed, point: draw.one_of(&POINTS) }
    };
    (0..).zip(Server::ALL).map(one).collect()
}

/// Each server, in each phase, with each fault, and in the cutover at each point.
pub fn all_failovers() -> Vec<Failover> {
    let mut all = Vec::new();
    for server in Server::ALL {
        for phase in PHASES {
            let points = if phase == Phase::CutoverPaused { &POINTS[..] } else { &POINTS[..1] };
            for fault in FAULTS {
                all.extend(points.iter().map(|point| Failover { server, phase, fault, point }));
            }
        }
    }
    all
}

/// Plays one, on a separate stage; the cluster and the servers are mended before.
pub fn play_failover(servers: &Servers, patroni: &Arc<Patroni>, failover: Failover) -> Result<()> {
    servers.mend()?;
    patroni.mend()?;
    let servers = servers.with_patroni(failover.server, patroni);
    let played =
        Stage::with(&servers, "cutover_timeout_ms = 3000", |stage| play(stage, patroni, failover));
    played.with_context(|| match patroni.keep_logs() {
        Ok(folder) => format!("{failover}; the members' logs are in {}", folder.display()),
        Err(error) => format!("{failover}; without the members' logs: {error}"),
    })
}

fn play(stage: &Stage<'_>, patroni: &Patroni, failover: Failover) -> Result<()> {
    let Failover { server: _, phase, fault, point } = failover;
    let mut cast = Cast::new(stage, LOAD);
    for app in APPS {
        cast.start_app(app, "")?;
        cast.writes(app)?;
    }
    let (point, more): (_, &[&str]) = match phase {
        Phase::BulkCopy => (String::new(), &["--copy-rate-max", "1000"]),
        Phase::DualWrite => (String::new(), &["--cutover", "manual"]),
        Phase::CutoverPaused => (format!("{point}=stop"), &[]),
    };
    let to = Server::Dedicated;
    cast.start_driver(DRIVER, &point, &Work::Start { to: to.name(), more })?;
    match phase {
        Phase::BulkCopy => wait_for_phase(stage, "bulk_copy")?,
        Phase::DualWrite => wait_for_phase(stage, "dual_write")?,
        Phase::CutoverPaused => cast.of(DRIVER)?.sleeps()?,
    }
    let lost = patroni.primary().context("the cluster has a primary")?;
    let begun = Instant::now();
    match fault {
        Fault::Killed => lost.kill()?,
        Fault::Stopped => lost.pause()?,
    }
    if phase == Phase::CutoverPaused {
        cast.of(DRIVER)?.wake()?;
    }
    patroni.failed_over(lost)?;
    let outage = begun.elapsed();
    // The lost member stays away until everybody writes again.
    cast.wait_for_acks(&APPS, 20)?;
    lost.mend()?;
    if phase == Phase::DualWrite {
        stage.run(&["migration", "cutover", &hex(&stage.last()?.id)])?;
    }
    cast.of(DRIVER)?.succeeds().context("the driver goes on by itself")?;
    cast.wait_for_acks(&APPS, 20)?;
    cast.waited(&APPS, failover.may_wait(outage))?;
    cast.ends_well()?;
    // The server that was stopped takes itself for the primary until Patroni has looked.
    patroni.is_whole()?;
    let report = stage.check(Moment::End)?;
    ensure!(report.authority == to.name(), "the tenant lives in {}", report.authority);
    println!(
        "  {failover}: another primary after {:.1} s, {} events, {} acknowledged",
        outage.as_secs_f64(),
        report.events,
        report.acked
    );
    Ok(())
}

impl Failover {
    /// The longest that an append may take.
    fn may_wait(&self, outage: Duration) -> Duration {
        let reached = self.server == Server::Shared || self.phase == Phase::CutoverPaused;
        if reached { outage + SLACK } else { Duration::from_millis(super::processes::NOTICED_MS) }
    }
}

fn wait_for_phase(stage: &Stage<'_>, phase: &str) -> Result<()> {
    wait_for(phase, || {
        let reached = stage.migrations()?.last().is_some_and(|last| last.phase == phase);
        Ok(reached.then_some(()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_and_each_phase_has_a_failover() {
        for seed in 0..50 {
            let some = some_failovers(seed);
            assert!(PHASES.iter().all(|phase| some.iter().any(|one| one.phase == *phase)));
            assert!(Server::ALL.iter().all(|server| some.iter().any(|one| one.server == *server)));
        }
        assert_eq!(all_failovers().len(), 3 * 2 * (2 + POINTS.len()));
    }
}
