//! A process that is watched, stopped and killed.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// Longest wait for anything; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until there is something to see.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
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
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `command`; what it says goes to files of that name.
    pub(crate) fn start(mut command: Command, folder: &Path, name: &str) -> Result<Self> {
        let (out, err) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        command.stdin(Stdio::piped()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { child, out, err })
    }

    /// What it wrote to its standard output so far.
    pub(crate) fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.out)?)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> Result<ExitStatus> {
        wait_for(&format!("the end of {}", self.err.display()), || Ok(self.child.try_wait()?))
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn succeeds(&mut self) -> Result<()> {
        let status = self.end()?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&self.err)?;
        let tail: Vec<&str> = said.lines().rev().take(5).collect();
        bail!("{} ended with {status}: {}", self.err.display(), tail.join(" | "))
    }

    /// Waits for its end, which must be by SIGKILL.
    pub(crate) fn dies(&mut self) -> Result<()> {
        let status = self.end()?;
        let said = fs::read_to_string(&self.err)?;
        ensure!(status.signal() == Some(9), "not killed, but {status}: {said}");
        Ok(())
    }

    /// Waits until it is stopped by SIGSTOP.
    pub(crate) fn sleeps(&mut self) -> Result<()> {
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_for(&format!("{} to be stopped", self.err.display()), || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", fs::read_to_string(&self.err)?);
            }
            // pid (name) state ...
            let stat = fs::read_to_string(&stat)?;
            let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
            Ok((state == Some("T")).then_some(()))
        })
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.dies()
    }

    /// SIGKILL to a process that may come to its own good end just before.
    pub(crate) fn kill_unless_done(&mut self) -> Result<()> {
        self.child.kill()?;
        let status = self.end()?;
        let said = fs::read_to_string(&self.err)?;
        let killed_or_done = status.signal() == Some(9) || status.success();
        ensure!(killed_or_done, "neither killed nor done, but {status}: {said}");
        Ok(())
    }

    /// SIGCONT.
    pub(crate) fn wake(&self) -> Result<()> {
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-CONT", &pid]).status()?.success(), "it is gone");
        Ok(())
    }

    /// Closes its standard input, which lets writers come to their end, and waits for it.
    pub(crate) fn ends_well(mut self) -> Result<()> {
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
