//! Where the tools are on this machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The server.
pub fn prometheus() -> Result<PathBuf> {
    find(&["prometheus"])
}

/// What checks rules, configurations and series.
pub fn promtool() -> Result<PathBuf> {
    find(&["promtool"])
}

/// The server, under Debian's name or its own.
pub fn alertmanager() -> Result<PathBuf> {
    find(&["prometheus-alertmanager", "alertmanager"])
}

fn find(names: &[&str]) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|program| program.is_file());
    found.with_context(|| {
        format!(
            "{} is not installed; `./x setup` installs it, or: apt-get install prometheus \
             prometheus-alertmanager",
            names[0]
        )
    })
}

/// The complaints of `promtool check metrics` about an exposition in the text format.
pub fn lint(exposition: &str) -> Result<Vec<String>> {
    let mut promtool = Command::new(promtool()?);
    promtool.args(["check", "metrics"]);
    let output = with_input(promtool, exposition)?;
    // It ends with 3 when it has complaints, and with 1 when it cannot read what it is given.
    match output.status.code() {
        Some(0 | 3) => {}
        _ => bail!("promtool check metrics: {}", String::from_utf8_lossy(&output.stderr)),
    }
    Ok(String::from_utf8(output.stderr)?.lines().map(str::to_owned).collect())
}

/// Checks a file with rules; the error has the findings.
pub fn check_rules(file: &Path) -> Result<()> {
    let output = Command::new(promtool()?).args(["check", "rules"]).arg(file).output()?;
    if !output.status.success() {
        bail!("promtool check rules: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Runs `command` to its end with that on its standard input.
pub(crate) fn with_input(mut command: Command, input: &str) -> Result<std::process::Output> {
    use std::io::Write as _;
    use std::process::Stdio;

    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("its standard input is a pipe")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A program with an early result does not read to the end; its status has the result.
    let _ = writer.join();
    Ok(output)
}
