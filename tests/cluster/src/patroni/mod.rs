//! A PostgreSQL cluster with automatic failover: Patroni over etcd, three members.
//!
//! ```text
//! etcd ◀── Patroni 0 ── server 0   primary
//!      ◀── Patroni 1 ── server 1   standby, synchronous unless the cluster is asynchronous
//!      ◀── Patroni 2 ── server 2   standby
//! ```

mod config;
mod member;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub use self::member::Member;
use crate::cluster::{ADMINISTRATOR, folder, owned_by, wait_for};
use crate::database::Database;
use crate::install::{self, User, run};
use crate::kept::{Kept, Recipe, free_port};
use crate::port;

const MEMBERS: usize = 3;
/// The sizes of a test; what etcd loses with the machine is of no interest here.
const ETCD: &str = "exec env --default-signal=QUIT \"$PROGRAM\" --data-dir data --listen-client-urls \
                    \"http://127.0.0.1:$1\" --advertise-client-urls \"http://127.0.0.1:$1\" \
                    --listen-peer-urls http://127.0.0.1:0";

/// A running cluster; when it is dropped, or this process ends, it is stopped and all of it removed.
#[derive(Debug)]
pub struct Patroni {
    // The members first: they wait for etcd otherwise.
    members: Vec<Member>,
    _etcd: Kept,
    programs: PathBuf,
    password: String,
    synchronous: bool,
    databases: AtomicU64,
}

impl Patroni {
    /// Starts a cluster in which a commit is on two members before it is acknowledged, or one in which it is not.
    pub fn start(synchronous: bool) -> Result<Self> {
        let programs = install::programs()?;
        let patroni = install::patroni()?;
        let user = install::other_than_root()?;
        let etcd = Kept::start(&Recipe {
            name: "etcd",
            program: &install::etcd()?,
            script: ETCD,
            files: &[],
            ready: "ready to serve",
        })?;
        let password = format!("{:016x}", port::random());
        let mut members = Vec::new();
        for number in 0..MEMBERS {
            let (api, port) = (free_port()?, free_port()?);
            let folder = folder("rehome-patroni-", user, true)?;
            let yaml = config::Config {
                name: &format!("member-{number}"),
                folder: folder.to_str().context("a path in UTF-8")?,
                programs: programs.to_str().context("a path in UTF-8")?,
                etcd: etcd.port(),
                api,
                port,
                administrator: ADMINISTRATOR,
                password: &password,
                synchronous,
            };
            written(user, &folder.join("patroni.yml"), &yaml.yaml())?;
            members.push(Member::start(user, &folder, &patroni, (api, port))?);
        }
        let databases = AtomicU64::new(0);
        let cluster = Self { members, _etcd: etcd, programs, password, synchronous, databases };
        cluster.is_whole()?;
        Ok(cluster)
    }

    /// Its members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with the leadership, if one has it now.
    pub fn primary(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.is("primary"))
    }

    /// Waits until a member other than this one, which was killed or paused, is the primary.
    pub fn failed_over(&self, from: &Member) -> Result<&Member> {
        let other = |member: &&Member| member.port() != from.port() && member.is("primary");
        wait_for("a failover", || {
            thread::sleep(Duration::from_millis(50));
            Ok(self.members.iter().find(other))
        })
    }

    /// Copies the members' logs to a folder that stays, and returns it.
    pub fn keep_logs(&self) -> Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix("rehome-patroni-logs-").tempdir()?.keep();
        for (number, member) in self.members.iter().enumerate() {
            fs::write(folder.join(format!("member-{number}.log")), member.log()?)?;
        }
        Ok(folder)
    }

    /// Begins and resumes all members, and waits until each follows the primary.
    pub fn mend(&self) -> Result<()> {
        self.members.iter().try_for_each(Member::mend)?;
        self.is_whole()
    }

    /// Waits until all members follow the primary, one of them as a synchronous standby.
    pub fn is_whole(&self) -> Result<()> {
        let whole = wait_for("a whole cluster", || {
            thread::sleep(Duration::from_millis(100));
            let count = |what| self.members.iter().filter(|member| member.is(what)).count();
            let standby = !self.synchronous || count("synchronous") > 0;
            if count("primary") != 1 || count("replica") != MEMBERS - 1 || !standby {
                return Ok(None);
            }
            // Patroni's key may name a standby for which the primary does not wait yet.
            let follow = "SELECT count(*), count(*) FILTER (WHERE sync_state = 'sync') \
                          FROM pg_stat_replication WHERE state = 'streaming'";
            let wanted = format!("{}|{}", MEMBERS - 1, u8::from(self.synchronous));
            Ok((self.sql("postgres", follow).ok() == Some(wanted)).then_some(()))
        });
        whole.with_context(|| {
            let logs = self.members.iter().filter_map(|member| member.log().ok());
            let tail = |log: String| {
                let from = log.len().saturating_sub(4_000);
                String::from_utf8_lossy(&log.as_bytes()[from..]).into_owned()
            };
            let follow = self.sql("postgres", "SELECT * FROM pg_stat_replication");
            format!("{follow:?}\n{}", logs.map(tail).collect::<Vec<_>>().join("\n---\n"))
        })
    }

    /// Runs `statements` at the primary as the administrator; what they answer, a row per line and `|` between
    /// columns.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let Some(primary) = self.primary() else { bail!("the cluster has no primary") };
        let (port, password) = (primary.port(), &self.password);
        let url = format!(
            "postgres://{ADMINISTRATOR}:{password}@127.0.0.1:{port}/{database}?connect_timeout=5"
        );
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]).args([
            "--set",
            "ON_ERROR_STOP=1",
            "--dbname",
            &url,
            "--command",
            statements,
        ]);
        Ok(run(&mut psql)?.trim_end().to_owned())
    }

    /// Makes a database. Its owner's role has the same name. Its URL names all members.
    pub fn database(&self) -> Result<Database> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        let ports = self.members.iter().map(Member::port).collect();
        Database::make(name, ports, None, |statement| self.sql("postgres", statement).map(drop))
    }
}

fn written(user: Option<User>, file: &std::path::Path, text: &str) -> Result<()> {
    fs::write(file, text)?;
    owned_by(user, file)
}
