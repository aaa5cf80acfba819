//! `publish-check`: whether the crates that are meant for crates.io can be published, and build with the oldest Rust that
//! they promise. It publishes nothing.
//!
//! Not part of `test`: it builds every crate from its package, and all of them again with that Rust.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::metadata;
use crate::step::{cargo, none, root, run as run_command, step};

/// What a page of crates.io and a search there need of a manifest.
const FIELDS: [&str; 6] =
    ["description", "license", "documentation", "rust_version", "keywords", "categories"];

/// A crate has at most this many keywords on crates.io.
const KEYWORDS_MAX: usize = 5;

pub(crate) fn run() -> Result<()> {
    let document = metadata::document()?;
    step("manifests", || none(&findings(&document)?))?;
    let names = published(&document)?;
    step("packages", || {
        let mut dry_run = cargo("publish --dry-run --locked");
        dry_run.args(names.iter().flat_map(|name| ["--package", name]));
        run_command(dry_run)
    })?;
    let oldest = oldest(&document)?;
    step(&format!("Rust {oldest}"), || with(&oldest))
}

/// What is missing in the manifests of published crates; a check of `tidy`.
pub(crate) fn findings(document: &Value) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for package in packages(document)? {
        let name = package["name"].as_str().unwrap_or_default();
        let is_empty = |value: &Value| {
            value.is_null()
                || value.as_str() == Some("")
                || value.as_array().is_some_and(Vec::is_empty)
        };
        let missing = FIELDS.iter().filter(|field| is_empty(&package[**field]));
        found.extend(missing.map(|field| format!("{name} is published and has no `{field}`")));
        if package["keywords"].as_array().is_some_and(|words| words.len() > KEYWORDS_MAX) {
            found.push(format!("{name} has more than {KEYWORDS_MAX} keywords"));
        }
    }
    Ok(found)
}

fn published(document: &Value) -> Result<Vec<String>> {
    let packages = packages(document)?;
    Ok(packages.iter().filter_map(|package| package["name"].as_str()).map(str::to_owned).collect())
}

/// The crates that are not kept back by `publish = false`.
fn packages(document: &Value) -> Result<Vec<&Value>> {
    let all = document["packages"].as_array().context("cargo metadata has no `packages`")?;
    Ok(all.iter().filter(|package| package["publish"].is_null()).collect())
}

/// The Rust that all of them promise.
fn oldest(document: &Value) -> Result<String> {
    let all = packages(document)?;
    let first = all.first().context("no crate is published")?;
    first["rust_version"].as_str().map(str::to_owned).context("a crate has no `rust-version`")
}

/// Checks the workspace with another Rust, in a folder of its own.
fn with(version: &str) -> Result<()> {
    let has = || {
        let mut rustc = Command::new("rustup");
        rustc.args(["run", version, "rustc", "--version"]);
        rustc.stdout(Stdio::null()).stderr(Stdio::null());
        rustc.status().is_ok_and(|status| status.success())
    };
    if !has() {
        eprintln!("installing Rust {version} (rustup toolchain install)");
        let mut install = Command::new("rustup");
        install.args(["toolchain", "install", version, "--profile", "minimal"]);
        if !install.status().is_ok_and(|status| status.success()) {
            bail!("Rust {version} could not be installed: it needs rustup and a network");
        }
    }
    let mut check = Command::new("rustup");
    check.args(["run", version, "cargo", "check", "--workspace", "--all-features", "--locked"]);
    check.arg("--target-dir").arg(root().join("target/oldest")).current_dir(root());
    // This cargo's own variables would choose its compiler.
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
        check.env_remove(name);
    }
    run_command(check)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_published_crate_needs_what_its_page_shows() {
        let whole = json!({
            "name": "a", "publish": null, "description": "d", "license": "l", "documentation": "u",
            "rust_version": "1.89", "keywords": ["k"], "categories": ["c"],
        });
        let of = |package: &Value| findings(&json!({ "packages": [package] })).unwrap();
        assert_eq!(of(&whole), Vec::<String>::new());
        let mut less = whole.clone();
        less["keywords"] = json!([]);
        less["documentation"] = Value::Null;
        assert_eq!(
            of(&less),
            ["a is published and has no `documentation`", "a is published and has no `keywords`"]
        );
        less["publish"] = json!([]);
        assert_eq!(of(&less), Vec::<String>::new(), "it is kept back");
        let mut many = whole;
        many["keywords"] = json!(["1", "2", "3", "4", "5", "6"]);
        assert_eq!(of(&many), ["a has more than 5 keywords"]);
    }

    #[test]
    fn the_published_crates_have_it() {
        let document = metadata::document().unwrap();
        assert_eq!(findings(&document).unwrap(), Vec::<String>::new());
        assert!(published(&document).unwrap().contains(&"rehome".to_owned()));
        assert!(oldest(&document).unwrap().starts_with("1."));
    }
}
