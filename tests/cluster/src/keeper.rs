//! The process between the test and a server. It is the server's parent, so it sees the server's end, and
//! it reads from the test's pipe, so it sees the test's end, even by `kill -9`: then it stops the server and
//! removes the folder. A signal at the parent's death (`PR_SET_PDEATHSIG`) would come when the thread
//! that started the server ends, which is too early in a test, and would leave the folder.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};

const SCRIPT: &str = include_str!("keeper.sh");

/// A keeper without a server, or with one.
#[derive(Debug)]
pub(crate) struct Keeper {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Keeps `server`, a command line without a port, in `folder`. `shell` is a command that runs `sh` as the
    /// server's user.
    pub(crate) fn start(mut shell: Command, folder: &Path, server: &[&Path]) -> Result<Self> {
        shell.args(["-c", SCRIPT, "keeper"]).arg(folder).args(server);
        // A group of its own: what a terminal sends to the tests is not for the server.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.spawn().context("the server's keeper cannot be started")?;
        let ask = child.stdin.take();
        let answers = child.stdout.take().context("its standard output is a pipe")?;
        Ok(Self { child, ask, answers: BufReader::new(answers) })
    }

    /// Starts the server on that port; its process id.
    pub(crate) fn begin(&mut self, port: u16) -> Result<u32> {
        self.tell(&format!("start {port}"))?.parse().context("the keeper answers with a process id")
    }

    /// Signals the server and waits for its end.
    pub(crate) fn stop(&mut self, signal: &str) -> Result<()> {
        self.tell(&format!("stop {signal}")).map(drop)
    }

    fn tell(&mut self, what: &str) -> Result<String> {
        let ask = self.ask.as_mut().context("the keeper was let go")?;
        writeln!(ask, "{what}").context("the server's keeper is gone")?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer).context("the server's keeper is gone")? == 0 {
            bail!("the server's keeper is gone");
        }
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.ask.take());
        // It ends when it has cleaned up; what remains otherwise is a folder.
        let _ = self.child.wait();
    }
}
