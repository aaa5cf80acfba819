//! What a release is made of: a CycloneDX document of the crates that the binary is built from, with their
//! licenses and the checksums that `Cargo.lock` holds them to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::step::{cargo, root};

/// The document, as text. The same sources give the same text.
pub(crate) fn make(target: &str) -> Result<String> {
    let mut tree =
        cargo("tree --locked --package rehome-cli --edges normal,build --prefix none --target");
    let output = tree.args([target, "--format", "{p}|{l}"]).output().context("cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("Cargo.lock")?;
    let tree = String::from_utf8(output.stdout).context("cargo tree is not UTF-8")?;
    let document = document(&tree, &checksums(&lock));
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn document(tree: &str, checksums: &BTreeMap<(String, String), String>) -> Value {
    let crates: BTreeSet<(&str, &str, &str)> = tree.lines().filter_map(read).collect();
    let components = crates.iter().filter(|(name, ..)| *name != "rehome-cli").map(|found| {
        let (name, version, license) = *found;
        let mut component = json!({
            "type": "library",
            "name": name,
            "version": version,
            "purl": format!("pkg:cargo/{name}@{version}"),
            "bom-ref": format!("{name}@{version}"),
        });
        if !license.is_empty() {
            // Older manifests part alternatives by a slash.
            let expression = license.replace(" / ", " OR ").replace('/', " OR ");
            component["licenses"] = json!([{ "expression": expression }]);
        }
        if let Some(sum) = checksums.get(&(name.to_owned(), version.to_owned())) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        component
    });
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "name": "rehome",
            "version": env!("CARGO_PKG_VERSION"),
            "bom-ref": "rehome",
        }},
        "components": components.collect::<Vec<_>>(),
    })
}

/// Name, version and license of a line like `serde v1.0.1 (proc-macro)|MIT OR Apache-2.0`.
fn read(line: &str) -> Option<(&str, &str, &str)> {
    let (package, license) = line.split_once('|')?;
    let (name, rest) = package.split_once(" v")?;
    Some((name, rest.split(' ').next()?, license.trim_end_matches(" (*)")))
}

/// What `Cargo.lock` holds crates to, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches(" = ").trim_matches('"').to_owned())
    };
    let blocks = lock.split("[[package]]").skip(1);
    let known = blocks.filter_map(|block| {
        Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?))
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
rehome-cli v0.1.0 (/home/x/crates/cli)|Apache-2.0
serde v1.0.2 (proc-macro)|MIT OR Apache-2.0
serde v1.0.2 (proc-macro)|MIT OR Apache-2.0 (*)
old v0.1.9|MIT/Apache-2.0

";
    const LOCK: &str = "\
version = 4

[[package]]
name = \"serde\"
version = \"1.0.2\"
source = \"registry\"
checksum = \"abc\"

[[package]]
name = \"rehome-cli\"
version = \"0.1.0\"
";

    #[test]
    fn each_crate_is_there_once_with_its_license_and_checksum() {
        let document = document(TREE, &checksums(LOCK));
        let components = document["components"].as_array().unwrap();
        assert_eq!(components.len(), 2);
        let (old, serde) = (&components[0], &components[1]);
        assert_eq!(old["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert!(old.get("hashes").is_none());
        assert_eq!(serde["purl"], "pkg:cargo/serde@1.0.2");
        assert_eq!(serde["hashes"][0]["content"], "abc");
        assert_eq!(document["metadata"]["component"]["name"], "rehome");
    }

    #[test]
    fn no_path_of_this_machine_is_in_it() {
        assert!(!document(TREE, &checksums(LOCK)).to_string().contains("/home"));
    }
}
