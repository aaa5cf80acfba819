//! Moves under the library's own writers.

use anyhow::{Result, ensure};

use crate::site::{DEDICATED, SHARED, TENANT, end, on_a_site};

/// There and back, twice, and there: nothing acknowledged is lost, doubled, reordered or changed, and the
/// library reads at the target what was written at the source.
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
        Ok(())
    })
}

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
            let report = site.python("readers.py", &["conformance", &url, "--tenant", TENANT])?;
            ensure!(report["ok"] == true && report["passed"].as_u64() > Some(20), "{report}");
            Ok(())
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
