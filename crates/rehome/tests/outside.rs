//! A project that is no member of this workspace depends on the library, appends and reads.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::path::Path;
use std::process::Command;

#[test]
fn a_project_outside_of_the_workspace_appends_and_reads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let project = root.join("tests/outside");
    // A copy, with the versions that the workspace has locked: so nothing has to be fetched.
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).display().to_string();
    let manifest = manifest.replace("../../crates/rehome", &library);
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::copy(project.join("src/main.rs"), folder.path().join("src/main.rs")).unwrap();
    std::fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--target-dir"])
        .arg(target)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&cargo.stdout), String::from_utf8_lossy(&cargo.stderr));
    assert!(cargo.status.success(), "{stderr}");
    assert_eq!(stdout.trim(), "Greeted {\"hello\":\"world\"}", "{stderr}");
}

#[test]
fn it_is_short() {
    let main = include_str!("../../../tests/outside/src/main.rs");
    let code = main.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("//"));
    assert!(code.count() < 20);
}
