//! Deaths of drivers and of writers, at each step of a move.

use anyhow::{Context as _, Result, ensure};

use crate::site::{DEDICATED, SHARED, Site, TENANT, end, on_a_site};

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

/// Whoever drives dies; another process goes on; the library's writers never stop.
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
