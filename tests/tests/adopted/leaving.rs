//! A tenant that is released from the guard after its move, and moves back later.

use anyhow::{Result, ensure};

use crate::harness::{DEDICATED, SHARED, TENANT, end, on_a_site};

/// Its writers continue, its rows belong to its application, no alarm is raised, and the next move
/// begins by guarding it again.
#[test]
fn a_tenant_is_unguarded_after_its_move_and_moves_back_under_its_writers() -> Result<()> {
    on_a_site(|site| {
        let writers = site.all_writers()?;
        site.writes(50)?;
        site.adopt()?;
        let window = ["--rollback-window", "1h"];
        let start = ["migration", "start", "--tenant", TENANT, "--to", DEDICATED];
        site.run(&[&start[..], &window].concat())?;
        let refused = site.fails(&["tenant", "unguard", TENANT])?;
        ensure!(refused.contains("window is open"), "{refused}");
        site.run(&["tenant", "purge", TENANT, "--store", SHARED, "--close-window"])?;

        let unguard = ["tenant", "unguard", TENANT, "--reason", "its move is over"];
        let found = site.json(&unguard)?;
        ensure!(found["store"] == DEDICATED && found["changed"] == true, "{found}");
        ensure!(site.json(&unguard)?["changed"] == false, "the second time there is nothing to do");
        site.writes(50)?;
        let noted = "SELECT (SELECT count(*) FROM rehome_guard.ledger) \
            + (SELECT count(*) FROM rehome_guard.arrivals) + (SELECT count(*) FROM rehome_guard.positions)";
        ensure!(site.sql(DEDICATED, noted)? == "0", "something is kept of it");
        let touch = format!("UPDATE events SET actor_id = actor_id WHERE tenant_id = '{TENANT}'");
        site.sql(DEDICATED, &touch)?;
        let insert = format!(
            "INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, version, \
                 timestamp, payload) VALUES (gen_random_uuid(), gen_random_uuid(), 'Order', 'Late', \
                 '{TENANT}', 1, now(), '{{}}')"
        );
        ensure!(site.sql(SHARED, &insert).is_err(), "the store that it has left takes its rows");
        let health = site.json(&["health"])?.to_string();
        ensure!(!health.contains("lost"), "{health}");

        site.move_to(SHARED)?;
        ensure!(site.routed_to()? == SHARED, "the router sends it to {}", site.routed_to()?);
        site.writes(50)?;
        end(writers)?;
        let report = site.check(SHARED, true)?;
        ensure!(report["acked_by_store"][DEDICATED].as_u64() > Some(0), "{report}");
        ensure!(report["undecided"] == 0, "{report}");
        let (events, _) = site.fold(SHARED)?;
        ensure!(report["rows"] == events, "the library reads {events}: {report}");
        Ok(())
    })
}
