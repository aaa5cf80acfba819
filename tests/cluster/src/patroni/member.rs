//! One member: Patroni and its server, which are killed and paused together, as a machine is.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::cluster::{children_of, signal, state_of, wait_for};
use crate::install::{User, command_as};
use crate::keeper::Keeper;

const SCRIPT: &str = include_str!("member.sh");
/// Longest wait for a member's answer; one that is paused gives none.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// A member of a cluster.
#[derive(Debug)]
pub struct Member {
    keeper: Mutex<(Keeper, Option<u32>)>,
    paused: AtomicBool,
    folder: PathBuf,
    api: u16,
    port: u16,
}

impl Member {
    pub(super) fn start(
        user: Option<User>,
        folder: &Path,
        patroni: &Path,
        (api, port): (u16, u16),
    ) -> Result<Self> {
        let script = folder.join("member.sh");
        fs::write(&script, SCRIPT)?;
        let mut shell = command_as(user, Path::new("/bin/sh"));
        shell.current_dir(folder);
        let default = Path::new("--default-signal=QUIT");
        let server = [Path::new("env"), default, Path::new("sh"), &script, folder, patroni];
        let keeper = Mutex::new((Keeper::start(shell, folder, &server)?, None));
        let (folder, paused) = (folder.to_owned(), AtomicBool::new(false));
        let member = Self { keeper, paused, folder, api, port };
        member.begin()?;
        Ok(member)
    }

    /// Where its server listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What Patroni and its server wrote to their logs so far.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("server.log"))?)
    }

    /// Whether Patroni's API confirms this, by the path that load balancers ask: `primary`, `replica`,
    /// `synchronous`.
    pub fn is(&self, what: &str) -> bool {
        let ask = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.api))?;
            stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
            stream.write_all(format!("GET /{what} HTTP/1.0\r\n\r\n").as_bytes())?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            std::io::Result::Ok(
                answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"),
            )
        };
        // One that is killed or paused confirms nothing.
        ask().unwrap_or(false)
    }

    /// Starts it again after a kill.
    pub fn begin(&self) -> Result<()> {
        let mut kept = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(kept.1.is_none(), "the member runs");
        // The port is in the configuration.
        kept.1 = Some(kept.0.begin(self.port)?);
        Ok(())
    }

    /// `kill -9` to Patroni, its server and all their processes, as if the machine had lost them.
    pub fn kill(&self) -> Result<()> {
        let all = self.processes(Signal::STOP)?;
        all.iter().try_for_each(|process| signal(*process, Signal::KILL))?;
        wait_for("the member's processes to be gone", || {
            Ok(all.iter().all(|one| matches!(state_of(*one), None | Some('Z'))).then_some(()))
        })?;
        let mut kept = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        self.paused.store(false, Ordering::Relaxed);
        kept.1 = None;
        kept.0.stop("TERM")
    }

    /// SIGSTOP to all of them: connections stay open, and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.paused.store(true, Ordering::Relaxed);
        self.processes(Signal::STOP).map(drop)
    }

    /// SIGSTOP to what sends its writes to the standbys: they stay behind, and what is committed from now on is lost
    /// with this member.
    pub fn isolate(&self) -> Result<()> {
        let server = self.server().context("the server does not run")?;
        let sends = |process: &u32| {
            let line = fs::read_to_string(format!("/proc/{process}/cmdline"));
            line.is_ok_and(|line| line.contains("walsender"))
        };
        let senders: Vec<u32> = children_of(server)?.into_iter().filter(sends).collect();
        ensure!(!senders.is_empty(), "no standby follows it");
        senders.iter().try_for_each(|sender| signal(*sender, Signal::STOP))
    }

    /// After a pause, the server continues, and is a primary of the past until a new Patroni has looked at it. The old
    /// Patroni does not continue: without a watchdog it may take the leadership back, by which the cluster loses commits
    /// (`put` without a comparison in its update of the leader key, 3.0.2).
    fn resume(&self) -> Result<()> {
        let mut kept = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let script = kept.1.take().context("the member does not run")?;
        for patroni in children_of(script)? {
            signal(patroni, Signal::KILL)?;
        }
        kept.0.stop("TERM")?;
        if let Some(server) = self.server() {
            let all = [vec![server], children_of(server)?].concat();
            all.iter().try_for_each(|process| signal(*process, Signal::CONT))?;
        }
        kept.1 = Some(kept.0.begin(self.port)?);
        Ok(())
    }

    /// Begins it if it was killed, resumes it if it was paused.
    pub fn mend(&self) -> Result<()> {
        let runs = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).1.is_some();
        match (runs, self.paused.swap(false, Ordering::Relaxed)) {
            (false, _) => self.begin(),
            (true, true) => self.resume(),
            (true, false) => Ok(()),
        }
    }

    /// Signals Patroni, its server and their children, parents first: one that is stopped makes no more children.
    fn processes(&self, with: Signal) -> Result<Vec<u32>> {
        let kept = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let script = kept.1.context("the member does not run")?;
        let mut all = Vec::new();
        for parent in children_of(script)?.into_iter().chain(self.server()) {
            signal(parent, with)?;
            let children = children_of(parent)?;
            children.iter().try_for_each(|child| signal(*child, with))?;
            all.extend([vec![parent], children].concat());
        }
        Ok(all)
    }

    /// The server's first process, if it runs.
    fn server(&self) -> Option<u32> {
        let data = self.folder.join("data");
        let lines = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let server: u32 = lines.lines().next()?.trim().parse().ok()?;
        // A file that a killed server left may have the number of another process.
        let runs_there = fs::read_link(format!("/proc/{server}/cwd")).ok()? == data;
        runs_there.then_some(server)
    }
}
