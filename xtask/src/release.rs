//! What must not be in the binary that users get.

use anyhow::{Context as _, Result, bail};

use crate::step::cargo;

/// Features that only tests switch on; `cargo build -p rehome-cli` must have none of them.
const TEST_FEATURES: [&str; 4] = ["failpoints", "memory", "contract", "fault"];

/// Crates for tests only.
const TEST_CRATES: [&str; 2] = ["rehome-cluster", "rehome-tests"];

/// The test features and crates that the release binary would be built with.
pub(crate) fn findings() -> Result<Vec<String>> {
    let mut tree = cargo("tree --locked --package rehome-cli --edges normal --prefix none");
    let output = tree.args(["--format", "{p}|{f}"]).output().context("cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(in_tree(&String::from_utf8_lossy(&output.stdout)))
}

fn in_tree(tree: &str) -> Vec<String> {
    let ours = || {
        tree.lines()
            .filter(|line| line.starts_with("rehome"))
            .filter_map(|line| line.split_once('|'))
    };
    let features = ours().flat_map(|(package, features)| {
        let of_tests = features.split(',').filter(|feature| TEST_FEATURES.contains(feature));
        of_tests.map(move |feature| format!("{package} has the test feature {feature}"))
    });
    let crates = ours().filter_map(|(package, _)| {
        let name = package.split(' ').next()?;
        TEST_CRATES.contains(&name).then(|| format!("{name} is for tests only"))
    });
    let mut found: Vec<_> = features.chain(crates).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_for_tests_in_the_release_is_found() {
        let tree = "rehome v0.1.0|\nrehome-cluster v0.1.0|\n";
        assert_eq!(in_tree(tree), ["rehome-cluster is for tests only"]);
    }

    #[test]
    fn a_test_feature_in_the_release_is_found_and_others_are_not() {
        let tree = "rehome v0.1.0|\nrehome-engine v0.1.0|failpoints,more\nmemory v1.0.0|memory\n";
        assert_eq!(in_tree(tree), ["rehome-engine v0.1.0 has the test feature failpoints"]);
        assert_eq!(in_tree("rehome v0.1.0|\nrehome-engine v0.1.0|\n"), [""; 0]);
    }
}
