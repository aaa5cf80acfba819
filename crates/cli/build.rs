//! The version that `--version` prints: with the commit, from `REHOME_COMMIT` or else from git, where one of them has it.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=REHOME_COMMIT");
    let given = std::env::var("REHOME_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let version = env!("CARGO_PKG_VERSION");
    let build = match &commit {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    };
    println!("cargo:rustc-env=REHOME_BUILD={build}");
    // It changes with each commit. A source archive has none, and nothing changes there but the sources.
    match git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        Some(log) if std::path::Path::new(&log).is_file() => {
            println!("cargo:rerun-if-changed={log}");
        }
        _ => println!("cargo:rerun-if-changed=build.rs"),
    }
}

/// What git says of this folder, if it is one of git's.
fn git(words: &[&str]) -> Option<String> {
    let said =
        Command::new("git").args(words).output().ok().filter(|said| said.status.success())?;
    let text = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}
