//! `clients/typescript`: checked by the compiler, tested by Node.js as it is and as it is shipped. Node.js is in the tests'
//! Python environment, the compiler in `target/npm`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_monitor::python::python;

use crate::harness::{Site, client};

fn npm() -> Result<PathBuf> {
    let modules = client("typescript").join("../../target/npm/node_modules");
    ensure!(modules.is_dir(), "{} is missing; `./x setup` makes it", modules.display());
    Ok(modules)
}

fn node() -> Result<Command> {
    let python = python()?;
    let node = python.with_file_name("node");
    ensure!(node.is_file(), "{} is missing; `./x setup` makes it", node.display());
    let mut command = Command::new(python);
    command.arg(node).current_dir(client("typescript"));
    Ok(command)
}

fn tsc(arguments: &[&str]) -> Result<()> {
    let modules = npm()?;
    let mut tsc = node()?;
    tsc.arg(modules.join("typescript/bin/tsc")).args(arguments);
    tsc.arg("--typeRoots").arg(modules.join("@types"));
    let output = tsc.output().context("tsc cannot be started")?;
    ensure!(output.status.success(), "tsc: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
fn the_types_hold_and_what_is_shipped_can_be_used() -> Result<()> {
    tsc(&["--project", "tsconfig.json"])?;
    let built = tempfile::tempdir()?;
    let folder = built.path().display().to_string();
    tsc(&["--project", "tsconfig.build.json", "--outDir", &folder])?;
    ensure!(built.path().join("index.d.ts").is_file(), "no types");
    let program = "const { Client, API_VERSION } = await import(process.argv[1]); \
                   new Client('http://localhost'); console.log(API_VERSION);";
    let mut used = node()?;
    used.args(["--input-type=module", "--eval", program]).arg(built.path().join("index.js"));
    let output = used.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(said.trim() == env!("CARGO_PKG_VERSION"), "{said}{complaint}");
    Ok(())
}

#[test]
fn the_typescript_client() -> Result<()> {
    let site = Site::new()?;
    let mut tests = node()?;
    tests.env("NODE_EXTRA_CA_CERTS", site.certificate());
    tests.args(["--test", "--test-reporter=spec", "test/*.test.ts"]);
    site.succeeds(tests, "node --test")
}
