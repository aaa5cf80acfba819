//! `setup`: the Rust tools that the other commands need, and the dependencies' sources. `./x` installs
//! packages of the operating system.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::advisories;
use crate::step::{cargo, run as run_command};

pub(crate) fn run() -> Result<()> {
    tools()?;
    crate::tools::mdbook()?;
    advisories::fetch();
    run_command(cargo("fetch --locked"))
}

/// Sees to it that rustfmt, clippy and cargo-deny are there. Silent when they are.
pub(crate) fn tools() -> Result<()> {
    if !(works(cargo("fmt --version")) && works(cargo("clippy --version"))) {
        let mut rustup = Command::new("rustup");
        rustup.args(["component", "add", "rustfmt", "clippy"]);
        if !works(rustup_version()) {
            bail!("rustfmt or clippy is missing: install both from where this Rust came from");
        }
        eprintln!("installing rustfmt and clippy (rustup component add rustfmt clippy)");
        run_command(rustup).context("rustfmt and clippy could not be installed")?;
    }
    if !works(cargo("deny --version")) {
        eprintln!(
            "installing cargo-deny (cargo install cargo-deny --locked); it takes some minutes"
        );
        run_command(cargo("install cargo-deny --locked")).context(
            "cargo-deny could not be installed; if there is no network, run `./x setup` where there is",
        )?;
    }
    Ok(())
}

fn rustup_version() -> Command {
    let mut rustup = Command::new("rustup");
    rustup.arg("--version");
    rustup
}

fn works(mut command: Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
