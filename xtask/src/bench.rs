//! `bench`: the numbers that the project promises, measured on this machine.
//!
//! The measuring is a program of its own, built for release; what it needs is not what everybody
//! who runs a check should have to build.

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
