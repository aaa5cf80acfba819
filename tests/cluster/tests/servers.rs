//! The servers that tests are given.

#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::{Cluster, Options, shared};

#[test]
fn a_database_has_an_owner_who_is_no_superuser() -> Result<()> {
    let database = shared().database()?;
    let name = database.name();
    let sql = format!("SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = '{name}'");
    assert_eq!(shared().sql(name, &sql)?, "f|f");
    let sql = format!("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(shared().sql(name, &sql)?, name);
    let mut psql = std::process::Command::new(shared().programs().join("psql"));
    let output =
        psql.args(["-AtX", "-d", &database.url(), "-c", "SELECT current_user"]).output()?;
    assert_eq!(String::from_utf8(output.stdout)?.trim(), name);
    Ok(())
}

#[test]
fn a_server_is_durable_and_does_not_run_as_root() -> Result<()> {
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(shared().sql("postgres", &format!("SHOW {setting}"))?, "on", "{setting}");
    }
    assert_ne!(fs::metadata(shared().folder())?.uid(), 0);
    Ok(())
}

#[test]
fn what_was_committed_survives_a_kill_and_a_restart() -> Result<()> {
    let cluster = Cluster::start(&Options::default().in_memory())?;
    cluster.sql("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")?;
    cluster.kill()?;
    ensure!(cluster.sql("postgres", "SELECT 1").is_err(), "it answers although it was killed");
    cluster.begin()?;
    cluster.sql("postgres", "INSERT INTO t VALUES (2)")?;
    cluster.restart()?;
    assert_eq!(cluster.sql("postgres", "SELECT sum(n) FROM t")?, "3");
    Ok(())
}

#[test]
fn a_paused_server_takes_connections_and_answers_when_it_is_resumed() -> Result<()> {
    let cluster = Cluster::start(&Options::default().in_memory())?;
    cluster.pause()?;
    let address = ("127.0.0.1", cluster.port());
    TcpStream::connect(address).context("the operating system accepts")?;
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| cluster.sql("postgres", "SELECT 1"));
        // It cannot have an answer, however long this is.
        std::thread::sleep(Duration::from_millis(100));
        ensure!(!answer.is_finished(), "a paused server answers");
        cluster.resume()?;
        assert_eq!(answer.join().expect("no panic")?, "1");
        Ok(())
    })
}

#[test]
fn a_small_disk_can_be_full_and_have_room_again() -> Result<()> {
    let cluster = Cluster::start(&Options::default().in_memory().small_disk(32))?;
    let database = cluster.database_on_small_disk()?;
    let sql = |text: &str| cluster.sql(database.name(), text);
    sql("CREATE TABLE t (data text)")?;
    cluster.fill_small_disk()?;
    let fill = "INSERT INTO t SELECT repeat(md5(n::text), 50) FROM generate_series(1, 500) n";
    let full = sql(fill).expect_err("the disk is full").to_string();
    ensure!(full.contains("No space left on device"), "{full}");
    cluster.clear_small_disk()?;
    sql(fill)?;
    assert_eq!(sql("SELECT count(*) FROM t")?, "500");
    Ok(())
}

/// The process that has the server in its keeping, and whose end is played.
const CHILD: &str = "REHOME_CLUSTER_CHILD";

#[test]
fn a_server_is_gone_when_its_process_is_killed() -> Result<()> {
    if let Some(place) = std::env::var_os(CHILD) {
        return serve_until_killed(Path::new(&place));
    }
    let told = tempfile::tempdir()?;
    let place = told.path().join("folder");
    let mut child = std::process::Command::new(std::env::current_exe()?);
    child.args(["--exact", "a_server_is_gone_when_its_process_is_killed", "--quiet"]);
    let mut child = child.env(CHILD, &place).stdin(std::process::Stdio::piped()).spawn()?;
    let folder = until(|| fs::read_to_string(&place).ok().filter(|path| !path.is_empty()))?;
    let folder = PathBuf::from(folder);
    ensure!(folder.join("data/postmaster.pid").exists(), "it runs");
    child.kill()?;
    child.wait()?;
    until(|| (!folder.exists()).then_some(()))
}

fn serve_until_killed(place: &Path) -> Result<()> {
    let cluster = Cluster::start(&Options::default().in_memory())?;
    // A paused server must go as well.
    cluster.pause()?;
    let whole = place.with_extension("part");
    fs::write(&whole, cluster.folder().to_string_lossy().as_bytes())?;
    fs::rename(whole, place)?;
    // The input is open as long as the other process lives.
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn until<T>(look: impl Fn() -> Option<T>) -> Result<T> {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        ensure!(std::time::Instant::now() < deadline, "it took too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}
