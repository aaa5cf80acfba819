//! A tenant there and back, under a script.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::cluster::{Load, Stage};
use super::processes::{Cast, Due, Who, Work};
use super::script::{Script, Step, What};
use super::{Server, Servers};
use crate::checker::{Migration, Moment};
use crate::process::PATIENCE;

const LOAD: Load = Load { writers: 3, rate: 120 };
/// Options of each migration: the copy takes long enough for faults.
const OPTIONS: [&str; 4] = ["--copy-rate-max", "1500", "--cutover-timeout-ms", "1500"];
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Plays the scripts of this seed: `steps` on each way.
pub fn play(servers: &Servers, seed: u64, steps: usize) -> Result<()> {
    let played = Stage::with(servers, "", |stage| {
        let mut play = Play::new(stage, Script::draw(seed, steps));
        play.way_to(Server::Dedicated)?;
        stage.check(Moment::Between)?;
        play.script = Script::draw(!seed, steps);
        play.way_to(Server::Shared)?;
        play.end()
    });
    played.with_context(|| format!("seed {seed} repeats the script"))
}

/// Repairs a fault.
#[derive(Clone, Copy, Debug)]
enum Mend {
    Wake(Who),
    Begin(Server),
    Resume(Server),
    Flow(Who, Server),
    Accept(Who, Server),
}

struct Play<'a> {
    stage: &'a Stage<'a>,
    cast: Cast<'a>,
    script: Script,
    due: Due<Mend>,
}

impl<'a> Play<'a> {
    const fn new(stage: &'a Stage<'a>, script: Script) -> Self {
        Self { stage, cast: Cast::new(stage, LOAD), script, due: Due::new() }
    }

    /// Runs the script while the tenant moves there; then repairs everything and waits for the end.
    fn way_to(&mut self, to: Server) -> Result<()> {
        for app in Who::APPS {
            if !self.cast.has(app) {
                self.cast.start_app(app, "")?;
                self.cast.writes(app)?;
            }
        }
        // Its successor begins the next migration.
        self.cast.kill(Who::Driver(0))?;
        let before = self.stage.migrations()?.len();
        let way = Way { to: to.name(), before };
        let begun = Instant::now();
        let said = |what: &str| println!("  {:6.2} s {what}", begun.elapsed().as_secs_f64());
        for step in std::mem::take(&mut self.script.steps) {
            let Step { after, what } = step;
            let begun = Instant::now();
            while begun.elapsed() < after {
                self.tend(&way, Mood::Broken)?;
            }
            said(&format!("{what:?}"));
            self.perform(what)?;
        }
        self.mend_all()?;
        said("everything is mended");
        self.tend_until(&way, "the migration", Self::is_over)?;
        said(&format!("the tenant is in {}", way.to));
        let enough = Who::APPS.map(|app| Ok((app, self.stage.acked(app)? + 10)));
        let enough = enough.into_iter().collect::<Result<Vec<_>>>()?;
        self.tend_until(&way, "everybody to write on", |play, _| {
            let writes = |(app, enough): &(Who, u64)| Ok(play.stage.acked(*app)? >= *enough);
            let all = enough.iter().map(writes).collect::<Result<Vec<bool>>>()?;
            Ok(all.into_iter().all(|writes| writes))
        })?;
        said("everybody writes on");
        Ok(())
    }

    /// Tends the processes, without new faults, until the condition holds.
    fn tend_until(
        &mut self,
        way: &Way,
        what: &str,
        is_so: impl Fn(&Self, &Way) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self, way)? {
            self.tend(way, Mood::Mended)?;
            let last = self.stage.last();
            ensure!(Instant::now() < deadline, "it takes too long: {what}; {last:?}");
        }
        Ok(())
    }

    /// Ends all processes, and checks everything.
    fn end(self) -> Result<()> {
        let Self { stage, cast, .. } = self;
        cast.ends_well()?;
        let report = stage.check(Moment::End)?;
        ensure!(report.authority == Server::Shared.name(), "it lives in {}", report.authority);
        let (seen, reads) = stage.known()?.watched();
        let told = report.acked;
        println!("  {} events, {told} acknowledged, {seen} seen, {reads} reads", report.events);
        ensure!(seen >= report.events && reads > 0, "nobody looked on");
        Ok(())
    }

    /// Tends the processes for a moment: repairs what is due, replaces processes that died, finds stopped
    /// ones.
    fn tend(&mut self, way: &Way, mood: Mood) -> Result<()> {
        for mend in self.due.take(false) {
            self.mend(mend)?;
        }
        self.cast.bury()?;
        for app in Who::APPS {
            if !self.cast.has(app) {
                let failpoint = self.failpoint(app, mood);
                self.cast.start_app(app, &failpoint)?;
            }
        }
        // The rows show which processes are needed. While the control plane is down none can run, and a
        // paused one would not even refuse connections.
        if !self.is_up(Server::Control) {
            thread::sleep(LOOK_EVERY);
            return Ok(());
        }
        let migrations = self.stage.migrations()?;
        let started = migrations.len() > way.before;
        for driver in Who::DRIVERS {
            if self.cast.has(driver) {
                continue;
            }
            let work = match driver {
                Who::Driver(0) if !started => Work::Start { to: way.to, more: &OPTIONS },
                _ => Work::Drive,
            };
            let failpoint = self.failpoint(driver, mood);
            self.cast.start_driver(driver, &failpoint, &work)?;
        }
        for who in Who::ALL {
            let asleep = self.cast.has(who) && self.cast.of(who)?.is_asleep();
            if asleep && !self.due.any(|mend| matches!(mend, Mend::Wake(of) if *of == who)) {
                let time = self.script.next_sleep();
                self.due.after(time, Mend::Wake(who));
            }
        }
        thread::sleep(LOOK_EVERY);
        Ok(())
    }

    fn failpoint(&mut self, who: Who, mood: Mood) -> String {
        let drawn = match mood {
            Mood::Broken => self.script.next_failpoint(who),
            Mood::Mended => None,
        };
        drawn.unwrap_or_default()
    }

    fn is_over(&self, way: &Way) -> Result<bool> {
        let migrations = self.stage.migrations()?;
        Ok(migrations.len() > way.before && migrations.last().is_some_and(is_over))
    }

    fn perform(&mut self, what: What) -> Result<()> {
        let stage = self.stage;
        match what {
            What::Kill(who) => return self.cast.kill(who),
            What::Stop(who, time) => {
                if self.cast.has(who) {
                    self.cast.of(who)?.stop()?;
                    self.due.after(time, Mend::Wake(who));
                }
            }
            What::Restart(server, time) if self.is_up(server) => {
                stage.server(server).stop()?;
                self.due.after(time, Mend::Begin(server));
            }
            What::Crash(server, time) if self.is_up(server) => {
                stage.server(server).kill()?;
                self.due.after(time, Mend::Begin(server));
            }
            What::Pause(server, time) if self.is_up(server) => {
                stage.server(server).pause()?;
                self.due.after(time, Mend::Resume(server));
            }
            // It is down already.
            What::Restart(..) | What::Crash(..) | What::Pause(..) => {}
            What::Cut(who, server) => drop(stage.proxy(who, server).cut()?),
            What::Refuse(who, server, time) => {
                stage.proxy(who, server).refuse()?;
                self.due.after(time, Mend::Accept(who, server));
            }
            What::Stall(who, server, direction, time) => {
                stage.proxy(who, server).stall(direction);
                self.due.after(time, Mend::Flow(who, server));
            }
            What::Delay(who, server, time) => {
                stage.proxy(who, server).delay(time / 20);
                self.due.after(time, Mend::Flow(who, server));
            }
            What::LoseReply(who, server) => stage.proxy(who, server).lose_reply(b"")?,
        }
        Ok(())
    }

    /// Whether it has no fault that is still to be repaired.
    fn is_up(&self, server: Server) -> bool {
        !self.due.any(|mend| matches!(mend, Mend::Begin(of) | Mend::Resume(of) if *of == server))
    }

    fn mend(&mut self, mend: Mend) -> Result<()> {
        let stage = self.stage;
        match mend {
            Mend::Wake(who) if self.cast.has(who) => self.cast.of(who)?.wake(),
            // It was killed in its sleep.
            Mend::Wake(_) => Ok(()),
            Mend::Begin(server) => stage.server(server).begin(),
            Mend::Resume(server) => stage.server(server).resume(),
            Mend::Flow(who, server) => {
                stage.proxy(who, server).flow();
                Ok(())
            }
            Mend::Accept(who, server) => stage.proxy(who, server).accept(),
        }
    }

    fn mend_all(&mut self) -> Result<()> {
        for mend in self.due.take(true) {
            self.mend(mend)?;
        }
        self.stage.mend_proxies()
    }
}

/// From where to where.
struct Way {
    to: &'static str,
    /// Migrations that were there before it.
    before: usize,
}

/// Whether processes are still started with failpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Broken,
    Mended,
}

/// The tenant lives in the target, and the target knows it.
fn is_over(migration: &Migration) -> bool {
    migration.phase == "migrated" && migration.state.contains("\"activated\":true")
}
