//! Writers whose transactions lie across the steps of a move, forced to their places one statement at a time.

use anyhow::{Context as _, Result, ensure};
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;

use crate::harness::{DEDICATED, SHARED, Site, TENANT, end, on_a_site};

/// The SQLSTATE with which the guard refuses writers.
const REFUSED: &str = "RH001";
/// PostgreSQL's words for a transaction that may simply be repeated.
const AGAIN: &str = "40001";

/// One connection that runs one step per line.
struct Odd {
    process: Process,
    answers: usize,
    stream: String,
}

impl Odd {
    /// At a store, with a stream of its own.
    fn at(site: &Site, store: &str, number: u32) -> Result<Self> {
        let url = site.database(store).url();
        let journal = site.journal(&format!("odd-{number}"));
        let program = site.program("odd_writers.py", &[&url, "--journal", &journal])?;
        let process = Process::start(program, site.path(), &format!("odd-{number}"))?;
        let stream = format!("0dd00000-0000-4000-8000-{number:012}");
        let mut odd = Self { process, answers: 0, stream };
        odd.answer()?;
        Ok(odd)
    }

    /// Sends a step, and does not wait.
    fn begin(&mut self, line: &str) -> Result<()> {
        self.process.tell(line)
    }

    /// What came of it.
    fn answer(&mut self) -> Result<Value> {
        let number = self.answers;
        let line = wait_for("an answer", || {
            let said = self.process.said()?;
            let mut whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            Ok(whole.nth(number).map(str::to_owned))
        })?;
        self.answers += 1;
        serde_json::from_str(&line).with_context(|| line)
    }

    fn does(&mut self, line: &str) -> Result<Value> {
        self.begin(line)?;
        let answer = self.answer()?;
        ensure!(answer["ok"] == true, "{line}: {answer}");
        Ok(answer)
    }

    fn inserts(&mut self) -> Result<()> {
        let insert = self.insert();
        self.does(&insert).map(drop)
    }

    fn insert(&self) -> String {
        format!("insert {TENANT} {}", self.stream)
    }

    /// An insert that is refused so.
    fn is_refused(&mut self, sqlstate: &str) -> Result<()> {
        let insert = self.insert();
        self.begin(&insert)?;
        let answer = self.answer()?;
        ensure!(answer["ok"] == false && answer["sqlstate"] == sqlstate, "{sqlstate}: {answer}");
        Ok(())
    }
}

/// Transactions that were open before the tenant was guarded: one that continues to write, one that is prepared,
/// one whose snapshot is older than the guard. Then savepoints and COPY while the copy is made.
#[test]
fn transactions_lie_across_the_guarding() -> Result<()> {
    on_a_site(|site| {
        let writers = site.all_writers()?;
        site.writes(50)?;
        site.adopt()?;
        let mut open = Odd::at(site, SHARED, 1)?;
        open.does("begin")?;
        open.inserts()?;
        let mut prepared = Odd::at(site, SHARED, 2)?;
        prepared.does("begin")?;
        prepared.inserts()?;
        prepared.does("prepare across")?;
        let mut snapshot = Odd::at(site, SHARED, 3)?;
        snapshot.does("begin REPEATABLE READ")?;
        snapshot.does(&format!("read {TENANT}"))?;
        let mut serial = Odd::at(site, SHARED, 4)?;
        serial.does("begin SERIALIZABLE")?;
        serial.does(&format!("read {TENANT}"))?;

        // The guard is there, and its history is not numbered as long as they are open.
        let said = site.fails(&["migration", "start", "--tenant", TENANT, "--to", DEDICATED])?;
        let pid = open.does("pid")?["pid"].to_string();
        for who in [&*format!("process {pid} "), "the prepared transaction 'across'"] {
            ensure!(said.contains(who), "{who} is not named: {said}");
        }
        // A transaction that read the routing before the guard continues; one that cannot see it is refused.
        open.inserts()?;
        snapshot.is_refused(AGAIN)?;
        snapshot.does("rollback")?;
        serial.is_refused(AGAIN)?;
        serial.does("rollback")?;
        open.does("commit")?;
        prepared.does("commit-prepared across")?;
        // The transaction is repeated, and sees the guard.
        serial.does("begin SERIALIZABLE")?;
        serial.inserts()?;
        serial.does("savepoint one")?;
        serial.inserts()?;
        serial.does("rollback-to one")?;
        serial.inserts()?;
        serial.does("commit")?;
        snapshot.does(&format!("copy {TENANT} {} 25", snapshot.stream))?;
        site.move_to(DEDICATED)?;
        site.writes(50)?;
        end(writers)?;
        site.check(DEDICATED, true).map(drop)
    })
}

/// A transaction that is open when the fence comes is waited for and counted; one that sleeps from before the
/// cutover until the end is refused whenever it wakes.
#[test]
fn transactions_lie_across_the_fence() -> Result<()> {
    on_a_site(|site| {
        let writers = site.all_writers()?;
        site.writes(50)?;
        site.adopt()?;
        let start = ["migration", "start", "--tenant", TENANT, "--to", DEDICATED];
        let manual = ["--cutover", "manual", "--rollback-window", "0s"];
        let mut driver = site.spawn("", &[&start[..], &manual].concat())?;
        let id = site.comes_to("dual_write")?["id"].as_str().unwrap_or_default().to_owned();
        // Long asleep: a prepared statement, and a snapshot from before the cutover.
        let mut sleeper = Odd::at(site, SHARED, 1)?;
        sleeper.does("warm")?;
        sleeper.inserts()?;
        let mut snapshot = Odd::at(site, SHARED, 2)?;
        snapshot.does("begin REPEATABLE READ")?;
        snapshot.does(&format!("read {TENANT}"))?;
        // Inside of the lock when the fence comes.
        let mut inside = Odd::at(site, SHARED, 3)?;
        inside.does("begin")?;
        inside.inserts()?;
        let mut cutover = site.spawn("", &["migration", "cutover", &id])?;
        wait_for("a fence that waits for the lock", || {
            let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                         AND mode = 'ExclusiveLock'";
            Ok((site.sql(SHARED, waits)? != "0").then_some(()))
        })?;
        // On a slow machine it was considered stopped, and ended: then no writer got a response.
        inside.begin("commit")?;
        let committed = inside.answer()?;
        ensure!(committed["ok"] == true || committed["lost"] == true, "{committed}");
        cutover.succeeds()?;
        driver.succeeds()?;
        ensure!(site.last()?["state"] == "migrated", "{}", site.last()?);

        for who in [&mut sleeper, &mut snapshot] {
            let insert = who.insert();
            who.begin(&insert)?;
            let answer = who.answer()?;
            let sqlstate = answer["sqlstate"].as_str().unwrap_or_default();
            ensure!([REFUSED, AGAIN].contains(&sqlstate), "accepted by the old store: {answer}");
        }
        snapshot.does("rollback")?;
        site.writes(50)?;
        // Whenever it wakes.
        sleeper.is_refused(REFUSED)?;
        end(writers)?;
        site.check(DEDICATED, true).map(drop)
    })
}

/// Writers in REPEATABLE READ and SERIALIZABLE, through the library itself.
#[test]
fn writers_of_every_isolation_level_move() -> Result<()> {
    on_a_site(|site| {
        let levels = ["repeatable read", "serializable"];
        let writers = levels.iter().enumerate();
        let writers = writers
            .map(|(number, level)| site.writers_with(number + 1, &["--isolation", level]))
            .collect::<Result<Vec<_>>>()?;
        site.writes(50)?;
        site.adopt()?;
        for to in [DEDICATED, SHARED] {
            site.move_to(to)?;
            site.writes(50)?;
        }
        end(writers)?;
        site.check(SHARED, true).map(drop)
    })
}
