//! The checker itself: each kind of violation, planted in a copy of files in which all is well, is
//! found and named.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rehome_tests::checker::{Moment, Violation, check};
use rusqlite::Connection;

use crate::harness::{DEDICATED, known, on_a_site, places, tenant};

/// The kind of damage.
enum Plant {
    /// The authority.
    Authority(&'static str),
    /// The old source, which holds a prefix.
    Other(&'static str),
    Control(&'static str),
    /// The writers' record, line by line.
    Record(fn(&Events, &str) -> Option<String>),
}

/// An append of several events that was acknowledged: its number and how its lines begin.
struct Events {
    sent: String,
    acked: String,
}

use Plant::{Authority, Control, Other, Record};

/// The damage, and the beginning of the finding. The tenant is the only one of its store, so all
/// rows are its own.
const PLANTS: [(&str, Plant); 27] = [
    ("lost", Authority("DELETE FROM events WHERE position = (SELECT max(position) FROM events)")),
    ("gap", Authority("DELETE FROM events WHERE position % 1099511627776 = 700")),
    (
        "elsewhere",
        Authority(
            "UPDATE events SET position = position + 500000 WHERE position % 1099511627776 = 10;
             UPDATE events SET position = position - 1 WHERE position % 1099511627776 = 11;
             UPDATE events SET position = position - 499999 WHERE position % 1099511627776 = 500010",
        ),
    ),
    (
        "elsewhere",
        Authority("UPDATE events SET version = 5000 WHERE position % 1099511627776 = 20"),
    ),
    (
        "twice",
        Authority(
            "DROP INDEX events_by_stream;
             INSERT INTO events SELECT max(position) + 1, stream_no, version, event_id, event_type,
                 occurred_at, recorded_at, data, metadata, digest FROM events",
        ),
    ),
    (
        "nobody sent",
        Authority(
            "INSERT INTO events SELECT max(position) + 1, stream_no, version + 1, randomblob(16),
                 event_type, occurred_at, recorded_at, data, metadata, digest FROM events",
        ),
    ),
    (
        "altered",
        Authority(
            "UPDATE events SET data = replace(data, ' ', '') WHERE position % 1099511627776 = 30",
        ),
    ),
    (
        "altered",
        Authority("UPDATE events SET metadata = NULL WHERE position % 1099511627776 = 30"),
    ),
    (
        "chain",
        Authority(
            "UPDATE events SET recorded_at = recorded_at + 1 WHERE position % 1099511627776 = 40",
        ),
    ),
    (
        "chain",
        Authority("UPDATE events SET digest = zeroblob(32) WHERE position % 1099511627776 = 40"),
    ),
    (
        "version gap",
        Authority("UPDATE events SET version = version + 900 WHERE position % 1099511627776 > 1600"),
    ),
    ("ledger lies", Authority("UPDATE ledger SET seq = seq - 1")),
    ("ledger lies", Authority("UPDATE ledger SET seq = seq + 1")),
    ("ledger lies", Authority("UPDATE ledger SET digest = zeroblob(32)")),
    ("ledger lies", Authority("UPDATE streams SET version = version + 1 WHERE stream_no = 1")),
    ("ledger lies", Other("UPDATE ledger SET role = 'absent'")),
    ("chain", Other("UPDATE events SET data = '{}' WHERE position % 1099511627776 = 50")),
    ("not a prefix", Other("UPDATE events SET data = '{}' WHERE position % 1099511627776 = 50")),
    (
        "not a prefix",
        Other(
            "INSERT INTO events SELECT max(position) + 1, stream_no, version + 1, randomblob(16),
                 event_type, occurred_at, recorded_at, data, metadata, digest FROM events",
        ),
    ),
    ("authorities", Other("UPDATE ledger SET role = 'active'")),
    ("authorities", Authority("UPDATE ledger SET role = 'fenced'")),
    ("authorities", Authority("UPDATE ledger SET epoch = epoch - 1")),
    ("never handed out", Other("UPDATE ledger SET epoch = epoch + 1000")),
    ("below base", Control("UPDATE routes SET base = base + 100000")),
    ("log", Control("UPDATE log SET actor = 'nobody' WHERE entry = 3")),
    (
        "refused, and there",
        Record(|events, line| {
            let refused = || line.replacen('A', "R", 1);
            Some(if line.starts_with(&events.acked) { refused() } else { line.to_owned() })
        }),
    ),
    (
        "before its time",
        Record(|events, line| {
            let mut fields: Vec<&str> = line.split(' ').collect();
            if line.starts_with(&events.sent) {
                fields[3] = "9000000000000000";
            }
            Some(fields.join(" "))
        }),
    ),
];

#[test]
fn every_violation_that_is_planted_is_found_and_named() -> Result<()> {
    on_a_site(|site| {
        let load = site.load("", 4, 400)?;
        site.start("", &[])?.succeeds()?;
        site.wait_for_acks(200)?;
        load.ends_well()?;
        site.finish(DEDICATED)?;

        ensure!(violations(site.path(), &site.records())?.is_empty(), "not a good beginning");
        for (number, (name, plant)) in PLANTS.iter().enumerate() {
            let folder = site.path().join(format!("planted-{number}"));
            let found = planted(site.path(), &site.records(), &folder, plant)?;
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            let named = found.iter().any(|violation| violation.starts_with(&format!("{name}: ")));
            ensure!(named, "plant {number}, {name}: {found:?}");
        }
        Ok(())
    })
}

/// An append that was never answered and is there by half.
#[test]
fn half_an_append_is_found() -> Result<()> {
    on_a_site(|site| {
        let load = site.load("", 4, 400)?;
        site.wait_for_acks(200)?;
        load.ends_well()?;
        let folder = site.path().join("planted");
        let records = copy(site.path(), &site.records(), &folder)?;
        let (record, events) = several(&records)?;
        let text = fs::read_to_string(&record)?;
        let line = text.lines().find(|line| line.starts_with(&events.acked)).context("acked")?;
        let last_seq: i64 = line.split(' ').nth(7).context("the last seq")?.parse()?;
        let kept: Vec<&str> = text.lines().filter(|kept| *kept != line).collect();
        fs::write(&record, kept.join("\n") + "\n")?;
        Connection::open(folder.join("shared.db"))?
            .execute("DELETE FROM events WHERE position % 1099511627776 = ?1", [last_seq])?;
        let found = violations(&folder, &records)?;
        let whole = |violation: &Violation| matches!(violation, Violation::NotWhole { .. });
        ensure!(found.iter().any(whole), "{found:?}");
        Ok(())
    })
}

/// Copies the files, changes one of them, and checks.
fn planted(from: &Path, records: &[PathBuf], to: &Path, plant: &Plant) -> Result<Vec<Violation>> {
    let records = copy(from, records, to)?;
    let (file, sql) = match plant {
        Authority(sql) => ("dedicated.db", sql),
        Other(sql) => ("shared.db", sql),
        Control(sql) => ("control.db", sql),
        Record(change) => {
            let (record, events) = several(&records)?;
            let text = fs::read_to_string(&record)?;
            let lines: Vec<String> =
                text.lines().filter_map(|line| change(&events, line)).collect();
            fs::write(&record, lines.join("\n") + "\n")?;
            return violations(to, &records);
        }
    };
    Connection::open(to.join(file))?.execute_batch(sql)?;
    violations(to, &records)
}

fn violations(folder: &Path, records: &[PathBuf]) -> Result<Vec<Violation>> {
    let report = check(&places(folder), tenant()?, Moment::End, || known(records))?;
    Ok(report.violations)
}

/// Copies databases and records; answers where the records are.
fn copy(from: &Path, records: &[PathBuf], to: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        let database = name.to_string_lossy().contains(".db");
        if database || records.contains(&path) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(records.iter().filter_map(|record| Some(to.join(record.file_name()?))).collect())
}

/// An append of several events that was acknowledged.
fn several(records: &[PathBuf]) -> Result<(PathBuf, Events)> {
    for record in records {
        let text = fs::read_to_string(record)?;
        for line in text.lines().filter(|line| line.starts_with("S ") && line.contains(',')) {
            let number = line.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ");
            let (sent, acked) = (format!("S {number} "), format!("A {number} "));
            if text.lines().any(|line| line.starts_with(&acked)) {
                return Ok((record.clone(), Events { sent, acked }));
            }
        }
    }
    anyhow::bail!("no append of several events was acknowledged")
}
