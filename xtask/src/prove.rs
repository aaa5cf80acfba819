//! `prove`: the models of the protocol and of the guard, within larger bounds than the tests have.
//!
//! The checking is done by programs of their own, built for release.

use anyhow::{Result, bail};

use crate::step::cargo;

/// Packages and their programs: the protocol, and the guard on other libraries' tables.
const MODELS: [(&str, &str); 2] =
    [("rehome-model", "rehome-prove"), ("rehome-guard-model", "rehome-prove-guard")];

pub(crate) fn run(args: &[String]) -> Result<()> {
    for (package, program) in MODELS {
        let run = format!("run --release --quiet --locked --package {package} --bin {program} --");
        if !cargo(&run).args(args).status()?.success() {
            bail!("prove: see above");
        }
    }
    Ok(())
}
