//! `test`: what has to pass before a change goes in.
//!
//! All features are on: the kits of the ports, and the failpoints, exist in test builds only and
//! are off in what `cargo build --release` makes.

use anyhow::{Result, bail};

use crate::step::{cargo, run as run_command, step};
use crate::tidy;

pub(crate) fn run() -> Result<()> {
    tidy::run()?;
    let build = || run_command(cargo("test --workspace --all-features --no-run"));
    let tests = || run_command(cargo("test --workspace --all-features --no-fail-fast"));
    if step("build the tests", build).is_err() {
        bail!("test failed: the tests do not build");
    }
    if step("tests", tests).is_err() {
        bail!("test failed: the tests named above");
    }
    eprintln!("test: all passed");
    Ok(())
}
