//! Programs in Rust that a command needs and that are no part of Rust: each in the version that is named here, in
//! `target/tools`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::step::{cargo, root, run as run_command};

const MDBOOK: &str = "0.4.52";

/// mdBook, which is installed where it is missing.
pub(crate) fn mdbook() -> Result<Command> {
    let tools = root().join("target/tools");
    let program = tools.join("bin/mdbook");
    let version = Command::new(&program).arg("--version").output();
    let is_there = version.is_ok_and(|said| {
        String::from_utf8_lossy(&said.stdout).trim() == format!("mdbook v{MDBOOK}")
    });
    if !is_there {
        eprintln!("installing mdbook {MDBOOK} in target/tools; it takes some minutes");
        let mut install = cargo("install mdbook --locked --no-default-features --features search");
        install.args(["--version", MDBOOK, "--force", "--root"]).arg(tools);
        run_command(install).context(
            "mdbook could not be installed; if there is no network, run `./x setup` where there is",
        )?;
    }
    Ok(Command::new(program))
}
