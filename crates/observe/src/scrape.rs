//! The response to a scrape: the engine's metrics, the process itself, and whether the
//! stores and the control plane answered the last check.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rehome_app::Deployment;
use rehome_domain::ids::StoreId;
use rehome_engine::metrics::{Format, Front, Metrics, Sample, Surroundings};
use rehome_ports::Migrations;
use tokio_util::sync::CancellationToken;

use crate::drains::DrainWatch;
use crate::removals::Removals;
use crate::store_checks::StoreChecks;

/// The interval of the checks.
const EVERY: Duration = Duration::from_secs(2);
/// Who has not answered by then is not there.
const WITHIN: Duration = Duration::from_secs(2);

/// The results of the last check.
#[derive(Debug, Default)]
pub struct Reachable(Mutex<Answers>);

/// Where a scrape comes from, besides who answered.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) metrics: &'a Metrics,
    pub(crate) checks: &'a StoreChecks,
    pub(crate) removals: &'a Removals,
    pub(crate) drains: &'a DrainWatch,
}

#[derive(Clone, Debug, Default)]
struct Answers {
    stores: BTreeMap<StoreId, bool>,
    control_plane: Option<bool>,
}

impl Reachable {
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The checked stores, and whether they answered.
    pub fn stores(&self) -> Vec<(StoreId, bool)> {
        self.lock().stores.iter().map(|(id, up)| (id.clone(), *up)).collect()
    }

    /// Whether the control plane answered; `None`: not checked yet.
    pub fn control_plane(&self) -> Option<bool> {
        self.lock().control_plane
    }

    /// Checks every few seconds whether the stores and the control plane answer, until `stop` is
    /// cancelled.
    pub(crate) async fn watch(&self, deployment: &Deployment, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.ask_all(deployment).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn ask_all(&self, deployment: &Deployment) {
        let stores = deployment.config().stores.iter().map(async |store| {
            let sight = deployment.store_watch().report(&store.id).await;
            let up = sight.is_ok_and(|sight| sight.unanswered.is_none());
            self.lock().stores.insert(store.id.clone(), up);
        });
        let control = async {
            let which = Migrations { limit: 1, ..Migrations::default() };
            let up = answers(deployment.engine().control().migrations(which)).await;
            self.lock().control_plane = Some(up);
        };
        tokio::join!(join_all(stores), control);
    }

    /// The metrics of this process in this format, as one document. `front`: what the process does for
    /// those who connect to it.
    pub(crate) fn render(&self, from: Sources<'_>, format: Format, front: Front) -> String {
        let around = self.surroundings(from, front);
        from.metrics.render(format, from.deployment.engine().router().appends(), &around)
    }

    /// The same one by one, behind when the process started: Unix time in seconds.
    pub(crate) fn samples(&self, from: Sources<'_>, front: Front) -> (f64, Vec<Sample>) {
        let around = self.surroundings(from, front);
        let samples = from.metrics.samples(from.deployment.engine().router().appends(), &around);
        (around.started, samples)
    }

    fn surroundings(&self, from: Sources<'_>, front: Front) -> Surroundings {
        let answers = self.lock().clone();
        let stores = answers.stores.into_iter().map(|(id, up)| (id.as_str().to_owned(), up));
        let process = Process::read().unwrap_or_default();
        Surroundings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: from.deployment.holder().to_owned(),
            cpu_seconds: process.cpu_seconds,
            resident_bytes: process.resident_bytes,
            started: process.started,
            stores: stores.collect(),
            checked: from.checks.counted(),
            removals_still: from.removals.standing_still(),
            control_plane: answers.control_plane,
            drains: from.drains.reports(),
            front,
        }
    }
}

async fn answers<T, E>(question: impl Future<Output = Result<T, E>>) -> bool {
    tokio::time::timeout(WITHIN, question).await.is_ok_and(|answer| answer.is_ok())
}

/// The kernel's counts for this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: f64,
    resident_bytes: u64,
    started: f64,
}

impl Process {
    /// From `/proc`; `None` where there is none. Source: proc_pid_stat(5), proc_stat(5).
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let boot = std::fs::read_to_string("/proc/stat").ok()?;
        Self::parse(
            &stat,
            &boot,
            rustix::param::clock_ticks_per_second(),
            rustix::param::page_size() as u64,
        )
    }

    fn parse(stat: &str, boot: &str, ticks: u64, page: u64) -> Option<Self> {
        // The second field is the program's name in brackets, which may hold blanks and brackets.
        let after_name = stat.rsplit_once(')')?.1;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        // Fields 14, 15, 22 and 24 of the whole line; the first here is the third there.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |number| Some(field(number)? as f64 / ticks as f64);
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(Self {
            cpu_seconds: seconds(14)? + seconds(15)?,
            resident_bytes: field(24)? * page,
            started: boot.trim().parse::<f64>().ok()? + seconds(22)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_brackets_and_blanks_in_its_name_is_read_all_the_same() {
        let stat = "42 (re (ho) me) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 1000 \
                    9000000 300 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";
        let boot = "cpu 1 2 3\nbtime 1700000000\nprocesses 9\n";
        let process = Process::parse(stat, boot, 100, 4_096).unwrap();
        let wanted =
            Process { cpu_seconds: 3.0, resident_bytes: 300 * 4_096, started: 1_700_000_010.0 };
        assert_eq!(process, wanted);
        assert_eq!(Process::parse("42 (cut", boot, 100, 4_096), None);
    }

    #[test]
    fn this_process_has_memory_and_a_beginning_in_the_past() {
        let process = Process::read().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(process.resident_bytes > 100_000, "{process:?}");
        assert!(process.started > 0.0 && process.started <= now.as_secs_f64() + 1.0);
    }
}
