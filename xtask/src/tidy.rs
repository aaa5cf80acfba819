//! `tidy`: the checks that need no test run. All of them run; the last line names those that
//! failed. `fmt`: the one that a program can put right.
//!
//! `cargo deny` checks bans, licenses and sources, and advisories where their database was fetched.

use anyhow::{Result, bail};

use crate::step::{cargo, none, root, run as run_command, step};
use crate::{
    advisories, architecture, dependencies, docs, language, leftovers, metadata, publish, release,
    setup,
};

type Check = fn() -> Result<()>;

pub(crate) fn run() -> Result<()> {
    setup::tools()?;
    let checks: [(&str, Check); 11] = [
        ("format", || run_command(cargo("fmt --all -- --check"))),
        ("leftovers", || none(&leftovers::find(&root())?)),
        ("plain English", || none(&language::find(&root())?)),
        ("pages, links and paths of the documentation", || none(&docs::findings(&root())?)),
        ("architecture", || none(&architecture::check(&metadata::load()?))),
        ("unused dependencies", || none(&dependencies::unused(&metadata::load()?)?)),
        ("manifests of published crates", || none(&publish::findings(&metadata::document()?)?)),
        ("nothing of tests in the release", || none(&release::findings()?)),
        ("licenses, bans, sources", || {
            run_command(cargo("deny check --hide-inclusion-graph bans licenses sources"))
        }),
        ("advisories", advisories::check),
        ("lints", || {
            run_command(cargo("clippy --workspace --all-targets --all-features -- -D warnings"))
        }),
    ];
    let failed: Vec<&str> = checks
        .into_iter()
        .filter_map(|(name, check)| step(name, check).err().map(|_| name))
        .collect();
    if !failed.is_empty() {
        bail!("tidy failed: {}", failed.join("; "));
    }
    eprintln!("tidy: all passed");
    Ok(())
}

pub(crate) fn format() -> Result<()> {
    setup::tools()?;
    run_command(cargo("fmt --all"))
}
