//! Known vulnerabilities of dependencies, by the database of RustSec, if it is available.
//!
//! `./x setup` and `cargo deny fetch db` fetch it; nothing is fetched here.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::step::{cargo, run};

/// Checks, or reports that there is no database.
pub(crate) fn check() -> Result<()> {
    if !folder().is_some_and(|folder| is_there(&folder)) {
        eprintln!("    not checked: there is no advisory database; `cargo deny fetch db` gets it");
        return Ok(());
    }
    run(cargo("deny check --hide-inclusion-graph --disable-fetch advisories"))
}

/// Fetches the database; without a network it reports that and does not fail.
pub(crate) fn fetch() {
    if run(cargo("deny fetch db")).is_err() {
        eprintln!("the advisory database was not fetched; the checks leave advisories out");
    }
}

/// The folder of cargo-deny's databases.
fn folder() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("advisory-dbs"))
}

/// Whether there is a database in the folder: a clone, with something in it.
fn is_there(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|clone| clone.join(".git").is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clone_is_a_database() {
        let folder = env::temp_dir().join(format!("rehome-advisories-{}", std::process::id()));
        assert!(!is_there(&folder));
        std::fs::create_dir_all(folder.join("db-1")).unwrap();
        std::fs::write(folder.join("db.lock"), "").unwrap();
        assert!(!is_there(&folder));
        std::fs::create_dir_all(folder.join("db-1/.git")).unwrap();
        assert!(is_there(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
