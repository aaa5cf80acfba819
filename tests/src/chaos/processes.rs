//! The processes: who is running, who was stopped, who has to be started again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::Stage;
use super::cluster::Load;
use crate::checker::hex;
use crate::history::TENANT;
use crate::process::{Process, wait_for};

/// A role. A process that has it may be killed and replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Writers, a subscriber and a reader.
    App(u8),
    /// Drives the migration, or waits to take over.
    Driver(u8),
}

impl Who {
    /// All parts.
    pub const ALL: [Self; 4] = [Self::App(0), Self::App(1), Self::Driver(0), Self::Driver(1)];
    /// Those who write.
    pub const APPS: [Self; 2] = [Self::App(0), Self::App(1)];
    /// Those who migrate.
    pub const DRIVERS: [Self; 2] = [Self::Driver(0), Self::Driver(1)];

    pub(super) fn name(self) -> String {
        match self {
            Self::App(number) => format!("app-{number}"),
            Self::Driver(number) => format!("driver-{number}"),
        }
    }
}

/// A writer that waits this long was affected by a fault; shorter than any time after which an operation
/// gives up, longer than the delays of a busy machine.
pub(super) const NOTICED_MS: u64 = 1_500;

/// The processes on a stage.
pub struct Cast<'a> {
    stage: &'a Stage<'a>,
    load: Load,
    running: BTreeMap<Who, Process>,
}

impl<'a> Cast<'a> {
    /// Without processes; applications will write this much.
    pub const fn new(stage: &'a Stage<'a>, load: Load) -> Self {
        Self { stage, load, running: BTreeMap::new() }
    }

    /// Starts an application and does not wait for anything.
    pub fn start_app(&mut self, who: Who, failpoint: &str) -> Result<()> {
        let name = self.stage.next_name(&who.name());
        let command = self.stage.application(who, &name, failpoint, self.load);
        self.begin(who, command, &name)
    }

    /// Starts a driver.
    pub fn start_driver(&mut self, who: Who, failpoint: &str, work: &Work<'_>) -> Result<()> {
        let mut command = self.stage.command(Some(who), failpoint);
        let name = match work {
            Work::Start { to, more } => {
                command.args(["migration", "start", "--tenant", TENANT, "--to", to]).args(*more);
                format!("{}-start", who.name())
            }
            Work::Resume => {
                command.args(["migration", "resume", &hex(&self.stage.last()?.id)]);
                format!("{}-resume", who.name())
            }
            Work::Drive => {
                command.args(["migration", "drive"]);
                format!("{}-drive", who.name())
            }
            Work::Run(args) => {
                command.args(*args);
                format!("{}-run", who.name())
            }
        };
        let name = self.stage.next_name(&name);
        self.begin(who, command, &name)
    }

    fn begin(&mut self, who: Who, command: std::process::Command, name: &str) -> Result<()> {
        let process = Process::start(command, self.stage.path(), name)?;
        self.running.insert(who, process);
        Ok(())
    }

    /// The process of the role.
    pub fn of(&mut self, who: Who) -> Result<&mut Process> {
        self.running.get_mut(&who).with_context(|| format!("nobody is {}", who.name()))
    }

    /// Whether the role has a process.
    pub fn has(&self, who: Who) -> bool {
        self.running.contains_key(&who)
    }

    /// `kill -9`, unless it has ended.
    pub fn kill(&mut self, who: Who) -> Result<()> {
        match self.running.remove(&who) {
            Some(mut process) => process.kill_if_it_runs(),
            None => Ok(()),
        }
    }

    /// Removes processes that have ended: an application may end only by a kill, or before it could
    /// begin.
    pub fn bury(&mut self) -> Result<()> {
        for who in Who::ALL {
            let Some(process) = self.running.get_mut(&who) else { continue };
            let Some(status) = process.ended()? else { continue };
            let began = process.said()?.contains("writing");
            let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
            if matches!(who, Who::App(_)) && began && !killed {
                bail!("{} ended with {status}: {}", who.name(), process.complained()?);
            }
            self.running.remove(&who);
        }
        Ok(())
    }

    /// Waits until an application writes.
    pub fn writes(&mut self, who: Who) -> Result<()> {
        let process = self.of(who)?;
        wait_for("writers", || {
            if let Some(status) = process.ended()? {
                bail!("it ended with {status}: {}", process.complained()?);
            }
            Ok(process.said()?.contains("writing").then_some(()))
        })
    }

    /// Waits until each of them has this many more acknowledged events.
    pub fn wait_for_acks(&self, who: &[Who], more: u64) -> Result<()> {
        for who in who {
            let enough = self.stage.acked(*who)? + more;
            wait_for(&format!("acknowledgements for {}", who.name()), || {
                Ok((self.stage.acked(*who)? >= enough).then_some(()))
            })?;
        }
        Ok(())
    }

    /// None of their appends took as long as a fault lasts.
    pub fn nobody_waited(&self, who: &[Who]) -> Result<()> {
        self.waited(who, Duration::from_millis(NOTICED_MS))
    }

    /// None of their appends took longer than this.
    pub fn waited(&self, who: &[Who], at_most: Duration) -> Result<()> {
        for who in who {
            let longest = Duration::from_millis(self.stage.longest_ms(*who)?);
            let name = who.name();
            ensure!(longest < at_most, "{name} waited for {longest:?}, not at most {at_most:?}");
        }
        Ok(())
    }

    /// Applications come to a good end, drivers to any: first all stop to write, then the subscribers go to
    /// the end of the feed.
    pub fn ends_well(mut self) -> Result<()> {
        for driver in Who::DRIVERS {
            self.kill(driver)?;
        }
        for process in self.running.values_mut() {
            process.tell("enough")?;
        }
        for process in self.running.values_mut() {
            wait_for("the last writer", || {
                // Without a subscriber and a reader it has ended by then.
                let ended = process.ended()?;
                if process.said()?.lines().count() >= 2 {
                    return Ok(Some(()));
                }
                match ended {
                    Some(status) => bail!("it ended with {status}: {}", process.complained()?),
                    None => Ok(None),
                }
            })?;
        }
        for process in self.running.into_values() {
            process.ends_well()?;
        }
        Ok(())
    }
}

/// What a driver is started with.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// A migration to a store, with these options.
    Start {
        /// The store.
        to: &'a str,
        /// Options of `migration start`.
        more: &'a [&'a str],
    },
    /// The migration that was started last, until its end.
    Resume,
    /// Drives any migration without a driver, until it is killed.
    Drive,
    /// These arguments of the command.
    Run(&'a [&'a str]),
}

/// The time of a repair.
pub(super) struct Due<T> {
    waiting: Vec<(Instant, T)>,
}

impl<T> Due<T> {
    pub(super) const fn new() -> Self {
        Self { waiting: Vec::new() }
    }

    pub(super) fn after(&mut self, time: Duration, what: T) {
        self.waiting.push((Instant::now() + time, what));
    }

    /// The repairs that are due, or all of them.
    pub(super) fn take(&mut self, all: bool) -> Vec<T> {
        let now = Instant::now();
        let (due, waiting) =
            self.waiting.drain(..).partition(|(at, _): &(Instant, T)| all || *at <= now);
        self.waiting = waiting;
        due.into_iter().map(|(_, what)| what).collect()
    }

    pub(super) fn any(&self, is: impl Fn(&T) -> bool) -> bool {
        self.waiting.iter().any(|(_, what)| is(what))
    }
}
