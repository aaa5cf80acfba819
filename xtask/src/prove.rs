//! `prove`: the model of the protocol, within larger bounds than the tests have.
//!
//! The checking is a program of its own, built for release.

use anyhow::{Result, bail};

use crate::step::cargo;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut prove =
        cargo("run --release --quiet --locked --package rehome-model --bin rehome-prove --");
    if !prove.args(args).status()?.success() {
        bail!("prove: see above");
    }
    Ok(())
}
