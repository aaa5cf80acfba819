//! The workspace by `cargo metadata`, reduced to what the checks need.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::step::cargo;

/// A crate of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, from the workspace's root, with `/` between the parts.
    pub(crate) folder: String,
    /// Its folder, from the file system's root.
    pub(crate) path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    /// `[package.metadata.rehome] feature-only`: dependencies that are named only to switch on a
    /// feature of a crate further down, and so appear in no source.
    pub(crate) feature_only: Vec<String>,
}

/// A dependency as its Cargo.toml names it.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The package's name.
    pub(crate) name: String,
    /// The name that sources use.
    pub(crate) code_name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

/// Runs cargo. It needs no network.
pub(crate) fn load() -> Result<Vec<Package>> {
    parse(&document()?)
}

/// The document itself.
pub(crate) fn document() -> Result<Value> {
    let output = cargo("metadata --no-deps --format-version 1").output()?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout).context("cargo metadata is not UTF-8")?;
    serde_json::from_str(&text).context("cargo metadata is not JSON")
}

/// Reads the document that `cargo metadata --no-deps` prints.
pub(crate) fn parse(metadata: &Value) -> Result<Vec<Package>> {
    let root = text(metadata, "workspace_root")?;
    list(metadata, "packages")?.iter().map(|package| read_package(package, root)).collect()
}

fn read_package(package: &Value, root: &str) -> Result<Package> {
    let manifest = PathBuf::from(text(package, "manifest_path")?);
    let path = manifest.parent().context("a manifest is in a folder")?.to_owned();
    let folder = path.strip_prefix(root).context("a member outside the workspace's folder")?;
    let feature_only = package["metadata"]["rehome"]["feature-only"].as_array();
    Ok(Package {
        name: text(package, "name")?.to_owned(),
        folder: folder.to_string_lossy().replace('\\', "/"),
        dependencies: list(package, "dependencies")?
            .iter()
            .map(read_dependency)
            .collect::<Result<_>>()?,
        feature_only: feature_only
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        path,
    })
}

fn read_dependency(dependency: &Value) -> Result<Dependency> {
    let name = text(dependency, "name")?;
    Ok(Dependency {
        name: name.to_owned(),
        code_name: dependency["rename"].as_str().unwrap_or(name).replace('-', "_"),
        kind: match dependency["kind"].as_str() {
            None => Kind::Normal,
            Some("dev") => Kind::Dev,
            Some("build") => Kind::Build,
            Some(other) => {
                bail!("cargo metadata names a kind of dependency we do not know: {other}")
            }
        },
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata has no `{key}`"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("cargo metadata has no `{key}`"))
}
