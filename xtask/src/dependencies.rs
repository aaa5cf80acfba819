//! Dependencies that no source mentions.
//!
//! Any mention of the name counts as use, which is cheap and needs no build: a dependency reported
//! as unused is unused, while one that is only mentioned is missed. Comment lines
//! do not count.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::leftovers::files;
use crate::metadata::{Kind, Package};

/// Folders of a crate whose code only tests build.
const TEST_FOLDERS: [&str; 3] = ["tests", "benches", "examples"];

/// One line for each dependency that its crate never mentions.
pub(crate) fn unused(packages: &[Package]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for package in packages {
        let sources = Sources::read(&package.path)?;
        for dependency in &package.dependencies {
            let exempt =
                dependency.name == package.name || package.feature_only.contains(&dependency.name);
            if !exempt && !sources.mention(&dependency.code_name, dependency.kind) {
                let Package { folder, .. } = package;
                found.push(format!(
                    "{folder}/Cargo.toml names {} and nothing uses it",
                    dependency.name
                ));
            }
        }
    }
    found.dedup();
    Ok(found)
}

/// A crate's sources, by who may use which dependency.
#[derive(Default)]
struct Sources {
    build: String,
    test: String,
    rest: String,
}

impl Sources {
    fn read(folder: &Path) -> Result<Self> {
        let mut sources = Self::default();
        for path in files(folder, &["rs"])? {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("{} is not readable", path.display()))?;
            let inside = path.strip_prefix(folder).unwrap_or(&path);
            let group = if inside == Path::new("build.rs") {
                &mut sources.build
            } else if TEST_FOLDERS.iter().any(|test| inside.starts_with(test)) {
                &mut sources.test
            } else {
                &mut sources.rest
            };
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            code.for_each(|line| {
                group.push_str(line);
                group.push('\n');
            });
        }
        Ok(sources)
    }

    fn mention(&self, name: &str, kind: Kind) -> bool {
        match kind {
            Kind::Normal => has_word(&self.rest, name),
            Kind::Dev => has_word(&self.rest, name) || has_word(&self.test, name),
            Kind::Build => has_word(&self.build, name),
        }
    }
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::{Sources, has_word};
    use crate::metadata::Kind;

    #[test]
    fn a_name_counts_only_as_a_whole_word() {
        assert!(has_word("use serde::Serialize;", "serde"));
        assert!(!has_word("use serde_json::Value;", "serde"));
        assert!(!has_word("let my_serde = 1;", "serde"));
    }

    #[test]
    fn what_only_tests_use_is_not_a_normal_dependency() {
        let sources = Sources { test: "use tempfile::tempdir;".into(), ..Sources::default() };
        assert!(sources.mention("tempfile", Kind::Dev));
        assert!(!sources.mention("tempfile", Kind::Normal));
    }
}
