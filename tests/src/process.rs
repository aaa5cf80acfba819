//! A process that is watched, stopped and killed.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Repeats `look` until it returns a value.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "it took too long: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A child; killed when it is dropped.
pub struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to files of that name.
    pub fn start(mut command: Command, folder: &Path, name: &str) -> Result<Self> {
        let (out, err) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        command.stdin(Stdio::piped()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { child, out, err })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its standard output so far.
    pub fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.out)?)
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub fn end(&mut self) -> Result<ExitStatus> {
        wait_for(&format!("the end of {}", self.err.display()), || Ok(self.child.try_wait()?))
    }

    /// Waits for its end, which must be a good one.
    pub fn succeeds(&mut self) -> Result<()> {
        let status = self.end()?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&self.err)?;
        let tail: Vec<&str> = said.lines().rev().take(5).collect();
        bail!("{} ended with {status}: {}", self.err.display(), tail.join(" | "))
    }

    /// Waits for its end, which must be by SIGKILL.
    pub fn dies(&mut self) -> Result<()> {
        let status = self.end()?;
        let said = fs::read_to_string(&self.err)?;
        ensure!(status.signal() == Some(9), "not killed, but {status}: {said}");
        Ok(())
    }

    /// What it wrote to its standard error so far.
    pub fn complained(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.err)?)
    }

    /// Writes a line to its standard input. One that has ended does not read it.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("its standard input was closed")?;
        writeln!(input, "{line}").context("it does not listen")
    }

    /// Whether it is stopped by SIGSTOP; one that has ended is not.
    pub fn is_asleep(&self) -> bool {
        // pid (name) state ...
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        stat.is_ok_and(|stat| {
            let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
            state == Some("T")
        })
    }

    /// Waits until it is stopped by SIGSTOP.
    pub fn sleeps(&mut self) -> Result<()> {
        wait_for(&format!("{} to be stopped", self.err.display()), || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", fs::read_to_string(&self.err)?);
            }
            Ok(self.is_asleep().then_some(()))
        })
    }

    /// SIGSTOP, unless it has ended.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGTERM, unless it has ended.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGKILL, however it ends or has ended.
    pub fn kill_if_it_runs(&mut self) -> Result<()> {
        self.child.kill()?;
        self.end().map(drop)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        // It was not waited for, so the number is still its own.
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.dies()
    }

    /// SIGKILL to a process that may come to its own good end just before.
    pub fn kill_unless_done(&mut self) -> Result<()> {
        self.child.kill()?;
        let status = self.end()?;
        let said = fs::read_to_string(&self.err)?;
        let killed_or_done = status.signal() == Some(9) || status.success();
        ensure!(killed_or_done, "neither killed nor done, but {status}: {said}");
        Ok(())
    }

    /// SIGCONT, unless it has ended.
    pub fn wake(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Closes its stdin, which lets writers finish, and waits for it.
    pub fn ends_well(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.succeeds()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
