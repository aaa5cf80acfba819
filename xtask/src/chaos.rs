//! `chaos`: scripts that kill, stop and cut off processes and PostgreSQL servers while a tenant moves
//! there and back, for as long as one likes. `test` plays a short one.

use anyhow::{Result, bail};

use crate::step::{cargo, run as run_command};

/// The package as the tests build it: the programs have to be beside the one that plays, and what checks
/// itself in a debug build is wanted here.
const PACKAGE: &str = "--quiet --locked --package rehome-tests --all-features";

pub(crate) fn run(args: &[String]) -> Result<()> {
    run_command(cargo(&format!("build {PACKAGE} --bins")))?;
    let mut chaos = cargo(&format!("run {PACKAGE} --bin rehome-chaos --"));
    if !chaos.args(args).status()?.success() {
        bail!("chaos: something is wrong; see above for the seed that repeats the script");
    }
    Ok(())
}
