//! Moves under the library's own writers.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use crate::harness::{DEDICATED, SHARED, Site, TENANT, end, on_a_site, on_partitions};

/// There and back, twice, and there: no acknowledged event is lost, duplicated, reordered or changed, and the
/// library reads at the target the events that were written at the source.
#[test]
fn a_tenant_moves_there_and_back_twice_under_the_writers_of_its_own_library() -> Result<()> {
    on_a_site(|site| {
        let writers = site.all_writers()?;
        site.writes(100)?;
        site.adopt()?;
        for to in [DEDICATED, SHARED, DEDICATED, SHARED, DEDICATED] {
            site.move_to(to)?;
            ensure!(site.routed_to()? == to, "the router sends it to {}", site.routed_to()?);
            site.writes(50)?;
        }
        end(writers)?;
        let report = site.check(DEDICATED, true)?;
        ensure!(report["acked_by_store"][SHARED].as_u64() > Some(0), "{report}");
        ensure!(report["acked_by_store"][DEDICATED].as_u64() > Some(0), "{report}");
        ensure!(report["undecided"] == 0, "{report}");
        println!("{report}");
        let (events, _) = site.fold(DEDICATED)?;
        ensure!(report["rows"] == events, "the library reads {events}: {report}");
        for nth in [1, 50, 99] {
            goes_on(site, nth)?;
        }
        Ok(())
    })
}

/// Rows that the library does not return yet, since their transactions are of another cluster's future (a dump that was
/// restored): they are events all the same, and the library returns them at the target.
#[test]
fn rows_that_the_library_hides_are_events_all_the_same() -> Result<()> {
    on_a_site(|site| {
        let writers = site.writers(1)?;
        site.writes(40)?;
        end(vec![writers])?;
        let hide = format!(
            "UPDATE events SET txid = '9000000000000000000' WHERE tenant_id = '{TENANT}' AND version % 3 = 0"
        );
        site.sql(SHARED, &hide)?;
        let rows = format!("SELECT count(*) FROM events WHERE tenant_id = '{TENANT}'");
        let rows: u64 = site.sql(SHARED, &rows)?.parse()?;
        let url = site.database(SHARED).url();
        let feed =
            site.python("readers.py", &["fold", &url, "--tenant", TENANT, "--after", "0"])?;
        ensure!(
            feed["feed_events"].as_u64() < Some(rows),
            "the library hides none of {rows}: {feed}"
        );
        site.adopt()?;
        site.move_to(DEDICATED)?;
        let report = site.check(DEDICATED, true)?;
        ensure!(report["rows"] == rows && report["common_rows"] == rows, "{report}");
        let (shown, _) = site.fold(DEDICATED)?;
        ensure!(shown == rows, "the library reads {shown} of {rows}");
        Ok(())
    })
}

/// The library's table in partitions by time: its unique keys have the time in them, so each writer has streams of
/// its own.
#[test]
fn a_tenant_moves_between_partitioned_tables_and_back_under_the_librarys_writers() -> Result<()> {
    on_partitions(|site| {
        let apart = ["--hot", "0"];
        let writers = [1, 2].map(|number| site.writers_with(number, &apart));
        let writers = writers.into_iter().collect::<Result<Vec<_>>>()?;
        site.writes(50)?;
        site.adopt()?;
        let leaves =
            "SELECT count(DISTINCT tgrelid) FROM pg_trigger WHERE tgname LIKE 'zzzz_rehome%'";
        ensure!(site.sql(SHARED, leaves)?.parse::<u32>()? > 12, "a guard on each partition");
        for to in [DEDICATED, SHARED, DEDICATED] {
            site.move_to(to)?;
            site.writes(40)?;
        }
        end(writers)?;
        let report = site.check(DEDICATED, true)?;
        ensure!(report["acked_by_store"][SHARED].as_u64() > Some(0), "{report}");
        ensure!(report["acked_by_store"][DEDICATED].as_u64() > Some(0), "{report}");
        ensure!(report["undecided"] == 0, "{report}");
        let (events, _) = site.fold(DEDICATED)?;
        ensure!(report["rows"] == events, "the library reads {events}: {report}");
        Ok(())
    })
}

/// A reader that has read up to the `nth` row of the first store skips nothing of the last.
fn goes_on(site: &Site, nth: usize) -> Result<()> {
    let of_tenant = format!("FROM events WHERE tenant_id = '{TENANT}'");
    let at = format!("SELECT global_position {of_tenant} ORDER BY 1 OFFSET {nth} LIMIT 1");
    let position = site.sql(SHARED, &at)?;
    let to = ["--position", &position, "--from", SHARED, "--to", DEDICATED];
    let found = site.json(&[&["tenant", "position", TENANT], &to[..]].concat())?;
    let translated = found["translated"].as_i64().context("a position")?;
    let events = |store: &str, which: &str| -> Result<BTreeSet<String>> {
        let said = site.sql(store, &format!("SELECT event_id {of_tenant} AND {which}"))?;
        Ok(said.lines().map(str::to_owned).collect())
    };
    let read = events(SHARED, &format!("global_position <= {position}"))?;
    let mut given = events(DEDICATED, &format!("global_position > {translated}"))?;
    let all = events(DEDICATED, "true")?;
    given.extend(read.iter().cloned());
    ensure!(given.is_superset(&all), "of {} events some were skipped: {found}", all.len());
    // Not by giving everything again.
    ensure!(nth == 1 || translated > 0, "{found}");
    Ok(())
}

/// How often the suites are tried. The library hides rows that are younger than the oldest transaction of the server, and so for a
/// moment those that it has just written: while another one runs, such as one that numbers rows, a test that reads them at once can fail.
const TRIES: usize = 3;

/// The library's conformance suites of its ports pass for a guarded tenant: before a move, while the copy
/// is level and follows, and at the target.
#[test]
fn the_librarys_conformance_suites_pass_before_during_and_after_a_move() -> Result<()> {
    on_a_site(|site| {
        let writers = site.writers(1)?;
        site.writes(20)?;
        end(vec![writers])?;
        site.adopt()?;
        let conforms = |store: &str| -> Result<()> {
            let url = site.database(store).url();
            let suites = || {
                let report =
                    site.python("readers.py", &["conformance", &url, "--tenant", TENANT])?;
                ensure!(report["ok"] == true && report["passed"].as_u64() > Some(20), "{report}");
                Ok(())
            };
            (1..TRIES).find_map(|_| suites().ok()).map_or_else(suites, Ok)
        };
        conforms(SHARED)?;
        let start = ["migration", "start", "--tenant", TENANT, "--to", DEDICATED];
        let mut driver = site.spawn("", &[&start[..], &["--cutover", "manual"]].concat())?;
        let id = site.comes_to("dual_write")?["id"].as_str().unwrap_or_default().to_owned();
        conforms(SHARED)?;
        site.run(&["migration", "cutover", &id])?;
        driver.succeeds()?;
        conforms(DEDICATED)
    })
}
