//! Running one step, and reporting its name, its duration and whether it succeeded.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// The workspace's root: where the cargo that runs us found us, else where we were built.
pub(crate) fn root() -> PathBuf {
    let built_at = || env!("CARGO_MANIFEST_DIR").into();
    let xtask = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(built_at));
    xtask.parent().expect("xtask is a folder of the workspace").to_owned()
}

/// A cargo command at the root, by the cargo that runs us. Under `CI=true` it draws no bars.
pub(crate) fn cargo(args: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args.split_whitespace()).current_dir(root());
    if env::var("CI").is_ok_and(|ci| ci == "true") {
        command.env("CARGO_TERM_PROGRESS_WHEN", "never");
    }
    command
}

/// Runs `command`; what it prints goes where our own output goes.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let status = command.status().with_context(|| format!("{name} cannot be started"))?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        bail!("cargo {} did not succeed ({status})", args.join(" "));
    }
    Ok(())
}

/// Runs `work` between a line that names it and a line with its result.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("==> {name}");
    let start = Instant::now();
    let result = work();
    let seconds = start.elapsed().as_secs_f64();
    match &result {
        Ok(()) => eprintln!("    {name}: ok ({seconds:.1} s)"),
        Err(error) => eprintln!("    {name}: failed ({seconds:.1} s): {error:#}"),
    }
    result
}

/// What a check found, as an error with a line for each finding.
pub(crate) fn none(findings: &[String]) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} found\n      {}", findings.len(), findings.join("\n      "));
}
