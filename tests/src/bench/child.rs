//! This program again, in a process of its own.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A child that works until its standard input is closed.
pub(crate) struct Working {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Working {
    /// Starts `command` and waits for the line that reports that it is ready.
    pub(crate) async fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("a child cannot be started")?;
        let input = child.stdin.take().context("its input is piped")?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).await?;
        if line.is_empty() {
            bail!("a child ended before it began");
        }
        Ok(Self { child, input, output })
    }

    /// Ends it; returns its last output.
    pub(crate) async fn end(self) -> Result<String> {
        let Self { mut child, input, mut output } = self;
        drop(input);
        let mut text = String::new();
        output.read_to_string(&mut text).await?;
        let status = child.wait().await?;
        if !status.success() {
            bail!("a child did not succeed: {status}");
        }
        Ok(text)
    }
}

/// This program, to be run as a child with a task.
pub(crate) fn command(task: &str, args: &[&OsStr]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--child").arg(task).args(args);
    Ok(command)
}

/// The output of a child that ends without a signal.
pub(crate) async fn answer(task: &str, args: &[&OsStr]) -> Result<String> {
    // Not `output`, which would capture the child's stderr.
    let child = command(task, args)?.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("the child for {task} did not succeed: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
