//! `simulate`: the engine under as many seeds as one likes. `test` plays some hundred.
//!
//! Built for release: a seed is a few hundredths of a second then.

use anyhow::{Result, bail};

use crate::step::cargo;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut simulate =
        cargo("run --release --quiet --locked --package rehome-simulator --bin rehome-simulate --");
    if !simulate.args(args).status()?.success() {
        bail!("simulate: see above");
    }
    Ok(())
}
