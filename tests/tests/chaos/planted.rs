//! Tests the checker itself, on PostgreSQL: it finds and names damage that is planted in correct rows. (The crash tests
//! plant damage in records, and in SQLite files.)

use anyhow::{Result, ensure};
use rehome_tests::chaos::{Cast, Server, Who};
use rehome_tests::checker::Moment;

use crate::named::{LOAD, TO_DEDICATED};
use crate::on_a_stage;

/// The server, the statement, its undo, and the beginning of the finding.
const PLANTS: [(Server, &str, &str, &str); 9] = [
    (
        Server::Dedicated,
        "CREATE TABLE kept AS SELECT * FROM rehome.events ORDER BY position DESC LIMIT 1;
         DELETE FROM rehome.events WHERE position = (SELECT position FROM kept)",
        "INSERT INTO rehome.events SELECT * FROM kept; DROP TABLE kept",
        "lost: ",
    ),
    (
        Server::Dedicated,
        "UPDATE rehome.events SET data = data || ' ' WHERE position % 1099511627776 = 30",
        "UPDATE rehome.events SET data = left(data, -1) WHERE position % 1099511627776 = 30",
        "altered: ",
    ),
    (
        Server::Dedicated,
        "UPDATE rehome.events SET recorded_at = recorded_at + 1 WHERE position % 1099511627776 = 40",
        "UPDATE rehome.events SET recorded_at = recorded_at - 1 WHERE position % 1099511627776 = 40",
        "chain: ",
    ),
    (
        Server::Dedicated,
        "UPDATE rehome.ledger SET seq = seq + 1",
        "UPDATE rehome.ledger SET seq = seq - 1",
        "ledger lies: ",
    ),
    (
        Server::Shared,
        "UPDATE rehome.events SET data = data || ' ' WHERE position % 1099511627776 = 50",
        "UPDATE rehome.events SET data = left(data, -1) WHERE position % 1099511627776 = 50",
        "not a prefix: ",
    ),
    (
        Server::Shared,
        "UPDATE rehome.ledger SET role = 'active'",
        "UPDATE rehome.ledger SET role = 'fenced'",
        "authorities: ",
    ),
    (
        Server::Shared,
        "UPDATE rehome.ledger SET epoch = epoch + 1000",
        "UPDATE rehome.ledger SET epoch = epoch - 1000",
        "never handed out: ",
    ),
    (
        Server::Control,
        "UPDATE rehome.routes SET base = base + 100000",
        "UPDATE rehome.routes SET base = base - 100000",
        "below base: ",
    ),
    (
        Server::Control,
        "UPDATE rehome.log SET actor = actor || '.' WHERE entry = 3",
        "UPDATE rehome.log SET actor = left(actor, -1) WHERE entry = 3",
        "log: ",
    ),
];

#[test]
fn every_violation_that_is_planted_is_found_and_named() -> Result<()> {
    on_a_stage("", |stage| {
        let (app, driver) = (Who::App(0), Who::Driver(0));
        let mut cast = Cast::new(stage, LOAD);
        cast.start_app(app, "")?;
        cast.writes(app)?;
        cast.start_driver(driver, "", &TO_DEDICATED)?;
        cast.of(driver)?.succeeds()?;
        cast.wait_for_acks(&[app], 20)?;
        cast.ends_well()?;
        for (server, plant, undo, named) in PLANTS {
            stage.check(Moment::End)?;
            stage.sql(server, plant)?;
            let found = stage.check(Moment::End).map_err(|error| format!("{error:#}"));
            let found = found.err().unwrap_or_default();
            let is_named = found.lines().any(|line| line.trim_start().starts_with(named));
            ensure!(is_named, "{plant}: {found}");
            stage.sql(server, undo)?;
        }
        stage.check(Moment::End).map(drop)
    })
}
