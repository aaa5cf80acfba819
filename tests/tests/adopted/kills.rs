//! Deaths of drivers and of writers, at each step of a move.

use anyhow::{Context as _, Result, ensure};

use crate::harness::{DEDICATED, SHARED, Site, TENANT, end, on_a_site, on_servers_apart};

/// Where a driver dies on a way with a history to copy, and on a way back, where next to nothing is left
/// to copy.
const DEATHS: [(&str, &str); 8] = [
    ("start.recorded", DEDICATED),
    ("cutover.ready", SHARED),
    ("prepare.adopted", DEDICATED),
    ("cutover.fenced", SHARED),
    ("cutover.compared", DEDICATED),
    ("cutover.switched", SHARED),
    ("cutover.activated", DEDICATED),
    ("cutover.published", SHARED),
];

/// The driver is killed; another process takes over; the library's writers never stop.
#[test]
fn a_driver_dies_at_each_step_and_another_goes_on() -> Result<()> {
    on_a_site(|site| {
        let writers = site.all_writers()?;
        site.writes(100)?;
        site.adopt()?;
        for (point, to) in DEATHS {
            dies_and_goes_on(site, point, to).with_context(|| format!("to {to}, {point}"))?;
        }
        end(writers)?;
        let report = site.check(SHARED, true)?;
        println!("{report}");
        Ok(())
    })
}

fn dies_and_goes_on(site: &Site, point: &str, to: &str) -> Result<()> {
    let start = ["migration", "start", "--tenant", TENANT, "--to", to, "--rollback-window", "0s"];
    site.spawn(&format!("{point}=kill"), &start)?.dies()?;
    let last = site.last()?;
    let id = last["id"].as_str().context("an id")?;
    site.run(&["migration", "resume", id])?;
    ensure!(site.last()?["state"] == "migrated", "it is {}", site.last()?);
    ensure!(site.routed_to()? == to, "the router sends it to {}", site.routed_to()?);
    site.writes(30)
}

/// Writers are killed and put to sleep, each server is killed and begins again, and the tenant moves there and
/// back meanwhile.
#[test]
fn writers_and_servers_die_while_a_tenant_moves() -> Result<()> {
    on_servers_apart(|site| {
        let mut writers = site.all_writers()?;
        site.writes(100)?;
        site.adopt()?;
        let start = ["migration", "start", "--tenant", TENANT, "--to", DEDICATED];
        let manual = ["--cutover", "manual", "--rollback-window", "0s"];
        let mut driver = site.spawn("", &[&start[..], &manual].concat())?;
        let id = site.comes_to("dual_write")?["id"].as_str().unwrap_or_default().to_owned();
        // One process of writers is killed in the middle of its work; another replaces it.
        writers.remove(0).kill()?;
        writers.push(site.writers(3)?);
        for server in [site.cluster_of(SHARED), site.cluster_of(DEDICATED), site.middle()] {
            server.kill()?;
            server.begin()?;
            site.writes(30)?;
        }
        // The other is stopped during the cutover, in the middle of its work.
        let mut sleeper = writers.remove(0);
        sleeper.stop()?;
        site.run(&["migration", "cutover", &id])?;
        driver.succeeds()?;
        site.writes(30)?;
        sleeper.wake()?;
        writers.push(sleeper);
        site.writes(30)?;
        site.move_to(SHARED)?;
        site.writes(30)?;
        end(writers)?;
        let report = site.check(SHARED, true)?;
        println!("{report}");
        Ok(())
    })
}
