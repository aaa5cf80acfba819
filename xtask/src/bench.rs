//! `bench`: the project's performance figures, measured on this machine.
//!
//! The benchmark is a program of its own, built for release; other checks do not build
//! its dependencies.

use anyhow::{Result, bail};

use crate::step::cargo;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut bench =
        cargo("run --release --quiet --locked --package rehome-tests --bin rehome-bench --");
    if !bench.args(args).status()?.success() {
        bail!("bench: a target was missed, or it could not be measured; see above");
    }
    Ok(())
}
