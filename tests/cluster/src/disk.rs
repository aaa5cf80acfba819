//! A small disk that only one server sees, and that can be filled.
//!
//! It is a file system in memory, mounted in the keeper's own namespace: no other process sees it, and
//! it is removed with the keeper and its server.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::install::{User, command_as};
use crate::{Cluster, Database};

/// Its mount point inside the namespace. The folder exists on every system and is empty or unused.
const PLACE: &str = "/mnt";
/// The tablespace on it.
const SPACE: &str = "small_disk";

/// `$0` is the size; the rest is what to run.
const MOUNT: &str = "mount -t tmpfs -o size=\"$0\",mode=1777 tmpfs /mnt && exec \"$@\"";

/// A shell that sees the disk, as the server's user.
pub(crate) fn shell(user: Option<User>, mib: u32) -> Command {
    let size = format!("{mib}m");
    let mut shell = Command::new("unshare");
    if user.is_some() {
        // We are root.
        let inside = command_as(user, Path::new("/bin/sh"));
        shell.args(["--mount", "sh", "-c", MOUNT, &size]);
        shell.arg(inside.get_program()).args(inside.get_args());
    } else {
        // Root of our namespace mounts it; in an inner namespace it is an ordinary user again.
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, &size]);
        shell.args(["unshare", "--user", "--map-user=1000", "--map-group=1000", "/bin/sh"]);
    }
    shell
}

impl Cluster {
    /// Makes a database whose tables and indexes are on the small disk.
    pub fn database_on_small_disk(&self) -> Result<Database> {
        let there = format!("SELECT count(*) FROM pg_tablespace WHERE spcname = '{SPACE}'");
        if self.sql("postgres", &there)? == "0" {
            self.sql("postgres", &format!("COPY (SELECT) TO PROGRAM 'mkdir {PLACE}/space'"))?;
            let make = format!("CREATE TABLESPACE {SPACE} LOCATION '{PLACE}/space'");
            self.sql("postgres", &make).context("the small disk")?;
        }
        self.database_in(Some(SPACE))
    }

    /// Fills the small disk to its last byte.
    pub fn fill_small_disk(&self) -> Result<()> {
        // It ends with the expected error: there is no space left.
        let fill = format!("COPY (SELECT) TO PROGRAM 'cat /dev/zero > {PLACE}/ballast || true'");
        self.sql("postgres", &fill).map(drop)
    }

    /// Makes room again.
    pub fn clear_small_disk(&self) -> Result<()> {
        let clear = format!("COPY (SELECT) TO PROGRAM 'rm {PLACE}/ballast'");
        self.sql("postgres", &clear).map(drop)
    }
}
