//! Any other server for tests, kept like PostgreSQL: in a separate folder, on a free port, and
//! removed with the process that started it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cluster::{PORTS_TRIED, folder, owned_by, state_of, tail, wait_for};
use crate::install::{User, command_as};
use crate::keeper::Keeper;
use crate::port;

/// What to start, and how to see that it is there.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The name, for the folder and for messages.
    pub name: &'a str,
    /// The program; `$PROGRAM` for the script.
    pub program: &'a Path,
    /// A line of `sh` that becomes the server, in its folder. `$1` is the port to listen on. A shell makes
    /// background processes ignore SIGQUIT, which ends the server finally, so a
    /// program without its own handler needs `env --default-signal=QUIT`.
    pub script: &'a str,
    /// Files for the folder.
    pub files: &'a [(&'a str, String)],
    /// A text in its log that shows that it accepts connections.
    pub ready: &'a str,
}

/// A running server.
#[derive(Debug)]
pub struct Kept {
    _keeper: Keeper,
    folder: PathBuf,
    port: u16,
}

impl Kept {
    /// Starts it as the current user.
    pub fn start(recipe: &Recipe<'_>) -> Result<Self> {
        Self::start_as(None, recipe)
    }

    pub(crate) fn start_as(user: Option<User>, recipe: &Recipe<'_>) -> Result<Self> {
        let Recipe { name, program, script, files, ready } = *recipe;
        let folder = folder(&format!("rehome-{name}-"), user, false)?;
        for (file, content) in files {
            fs::write(folder.join(file), content)?;
            owned_by(user, &folder.join(file))?;
        }
        let mut shell: Command = command_as(user, Path::new("/bin/sh"));
        shell.current_dir(&folder).env("PROGRAM", program);
        // The keeper passes the port as PostgreSQL expects it, `-p PORT`.
        let start = [Path::new("/bin/sh"), Path::new("-c"), Path::new(script)];
        let mut keeper = Keeper::start(shell, &folder, &start)?;
        for _ in 0..PORTS_TRIED {
            let (port, _) = port::listen()?;
            let process = keeper.begin(port)?;
            let begun = wait_for(&format!("{name} to begin"), || {
                if matches!(state_of(process), None | Some('Z')) {
                    return Ok(Some(false));
                }
                Ok(log(&folder).contains(ready).then_some(true))
            })?;
            if begun {
                return Ok(Self { _keeper: keeper, folder, port });
            }
            keeper.stop("TERM")?;
            // Another process was faster.
            if !tail(&folder).to_lowercase().contains("address already in use") {
                bail!("{name} does not start:\n{}", tail(&folder));
            }
        }
        bail!("no free port for {name}")
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder, which goes with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> String {
        log(&self.folder)
    }
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("server.log")).unwrap_or_default()
}

/// A port of 127.0.0.1 that was free a moment ago, for a server that has to come back to the same one.
pub fn free_port() -> Result<u16> {
    port::listen().map(|(port, _)| port)
}
