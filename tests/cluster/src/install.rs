//! The location of PostgreSQL on this machine, and the user of its server.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// Where Debian and Ubuntu keep the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The folder with `initdb` and `postgres`: the newest of Debian's, else the one of `pg_config`,
/// else the one on the `PATH`.
pub(crate) fn programs() -> Result<PathBuf> {
    newest(Path::new(VERSIONS))
        .or_else(configured)
        .or_else(on_the_path)
        .context("PostgreSQL's server is not installed; `./x setup` installs it, or: apt-get install postgresql")
}

fn holds_a_server(folder: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file())
}

fn newest(versions: &Path) -> Option<PathBuf> {
    fs::read_dir(versions)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            holds_a_server(&folder).then_some((version, folder))
        })
        .max()
        .map(|(_, folder)| folder)
}

fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    holds_a_server(&folder).then_some(folder)
}

fn on_the_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find(|folder| holds_a_server(folder))
}

/// pgbouncer, which Debian installs where only an administrator's `PATH` finds it.
pub(crate) fn pgbouncer() -> Result<PathBuf> {
    program("pgbouncer", "pgbouncer")
}

/// What decides about failovers, beside each server.
pub(crate) fn patroni() -> Result<PathBuf> {
    program("patroni", "patroni")
}

/// What Patroni keeps the leadership in.
pub(crate) fn etcd() -> Result<PathBuf> {
    program("etcd", "etcd-server")
}

fn program(name: &str, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    found.with_context(|| {
        format!("{name} is not installed; `./x setup` installs it, or: apt-get install {package}")
    })
}

/// A user of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The server's user: the current one, or another one for root, which PostgreSQL refuses.
pub(crate) fn other_than_root() -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let user = ["postgres", "nobody"].into_iter().find_map(|name| named(&users, name));
    let user = user.context("no user `postgres` or `nobody` to run PostgreSQL as")?;
    ensure!(user.uid != 0, "PostgreSQL does not run as root");
    Ok(Some(user))
}

/// Where files are in memory, if a server has room there.
pub(crate) fn memory() -> Option<&'static Path> {
    const MEMORY: &str = "/dev/shm";
    const ROOM_MIN: u64 = 2 << 30;
    let room = rustix::fs::statvfs(MEMORY).ok()?;
    (room.f_bavail * room.f_frsize >= ROOM_MIN).then(|| Path::new(MEMORY))
}

fn named(users: &str, name: &str) -> Option<User> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        Some(User { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    })
}

/// A command that runs as `user`, or as ourselves.
pub(crate) fn command_as(user: Option<User>, program: &Path) -> Command {
    let Some(User { uid, gid }) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={uid}"), format!("--regid={gid}")])
        .args(["--clear-groups", "--inh-caps=-all", "--"])
        .arg(program);
    command
}

/// Runs `command` to its end; an error has its output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} cannot be started"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} does not speak UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_taken_as_a_number() -> Result<()> {
        let versions = tempfile::tempdir()?;
        for version in ["9", "14", "15", "16-broken"] {
            let folder = versions.path().join(version).join("bin");
            fs::create_dir_all(&folder)?;
            for program in ["initdb", "postgres", "psql"] {
                fs::write(folder.join(program), "")?;
            }
        }
        fs::create_dir_all(versions.path().join("17/bin"))?;
        assert_eq!(newest(versions.path()), Some(versions.path().join("15/bin")));
        Ok(())
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "postgresql:x:1:1:::\npostgres:x:101:104:,,,:/var/lib:/bin/bash\n";
        let user = named(users, "postgres").map(|user| (user.uid, user.gid));
        assert_eq!(user, Some((101, 104)));
        assert!(named(users, "post").is_none());
    }
}
