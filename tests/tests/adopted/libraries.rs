//! Other libraries, each with its own writers and its own tests.

use anyhow::{Context as _, Result, ensure};

use crate::harness::{
    DEDICATED, EMMETT, Library, MESSAGE_DB, PYEVENTSOURCING, SHARED, Site, end, on_a_site_of,
};

/// Its append locks the whole table, and its readers take positions to be in the order of commits.
#[test]
fn a_tenant_of_pyeventsourcing_moves_there_and_back_under_its_writers() -> Result<()> {
    moves_there_and_back(&PYEVENTSOURCING)
}

#[test]
fn the_tests_of_pyeventsourcing_pass_while_its_tenant_moves_and_after() -> Result<()> {
    conforms_throughout(&PYEVENTSOURCING, 10)
}

/// Its functions are called by plain SQL, and take locks of their own.
#[test]
fn a_tenant_of_message_db_moves_there_and_back_under_its_writers() -> Result<()> {
    moves_there_and_back(&MESSAGE_DB)
}

#[test]
fn what_message_db_promises_holds_while_its_tenant_moves_and_after() -> Result<()> {
    conforms_throughout(&MESSAGE_DB, 9)
}

/// Its streams have heads in a table of their own, and its readers follow transactions.
#[test]
fn a_tenant_of_emmett_moves_there_and_back_under_its_writers() -> Result<()> {
    moves_there_and_back(&EMMETT)
}

/// Nothing acknowledged is lost, doubled, reordered or changed, in two processes of eight writers, and the library
/// reads at the target what was written at the source.
fn moves_there_and_back(library: &'static Library) -> Result<()> {
    on_a_site_of(library, |site| {
        let writers = site.all_writers()?;
        site.writes(50)?;
        site.adopt()?;
        for to in [DEDICATED, SHARED, DEDICATED] {
            site.move_to(to).with_context(|| format!("to {to}"))?;
            ensure!(site.routed_to()? == to, "the application finds it at {}", site.routed_to()?);
            site.writes(30)?;
        }
        end(writers)?;
        let report = site.check(DEDICATED, true)?;
        println!("{report}");
        ensure!(report["acked_by_store"][SHARED].as_u64() > Some(0), "{report}");
        ensure!(report["acked_by_store"][DEDICATED].as_u64() > Some(0), "{report}");
        ensure!(report["undecided"] == 0, "{report}");
        let (events, _) = site.fold(DEDICATED)?;
        ensure!(report["rows"] == events, "the library reads {events}: {report}");
        site.run(&["plan", "--tenant", library.tenant, "--to", SHARED]).map(drop)
    })
}

/// The library's own tests of its store, of which there are at least `least`, in the table of a guarded tenant.
fn conforms_throughout(library: &'static Library, least: u64) -> Result<()> {
    on_a_site_of(library, |site| {
        let conforms = |store: &str| -> Result<()> {
            let passed = site.suite(store)?;
            ensure!(passed >= least, "{passed} tests passed");
            Ok(())
        };
        let writers = site.writers(1)?;
        site.writes(20)?;
        end(vec![writers])?;
        site.adopt()?;
        let start = ["migration", "start", "--tenant", library.tenant, "--to", DEDICATED];
        let mut driver = site.spawn("", &[&start[..], &["--cutover", "manual"]].concat())?;
        let id = site.comes_to("dual_write")?["id"].as_str().unwrap_or_default().to_owned();
        conforms(SHARED)?;
        ensure!(refuses(site, library), "the target takes rows of the tenant");
        site.run(&["migration", "cutover", &id])?;
        driver.succeeds()?;
        conforms(DEDICATED)
    })
}

/// The library's tests do not pass where the tenant is not.
fn refuses(site: &Site, library: &Library) -> bool {
    let refused = site.suite(DEDICATED).err().map(|error| format!("{error:#}"));
    let said = format!("tenant {} is not written in this database", library.tenant);
    refused.is_some_and(|refused| refused.contains(&said))
}
