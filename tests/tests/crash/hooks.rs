//! kill -9 of the process that notifies hooks: another process delivers the rest, in order, also of an ended migration.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::harness::{DEDICATED, Site, on_a_site};
use rehome_tests::history::TENANT;
use rehome_tests::process::wait_for;

/// Adds a hook that runs `script` with the document on its standard input, in the site's folder.
fn add_hook(site: &Site, name: &str, on: &str, script: &str) -> Result<()> {
    let file = site.path().join("rehome.toml");
    let mut config = fs::read_to_string(&file)?;
    let program = site.path().join(format!("{name}.sh"));
    fs::write(&program, format!("cd {}\n{script}\n", site.path().display()))?;
    // Writing to a String cannot fail.
    let _ = write!(
        config,
        "\n[[hooks]]\nname = \"{name}\"\non = [{on}]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"{}\"]\n",
        program.display()
    );
    Ok(fs::write(&file, config)?)
}

/// The received steps, in the order of arrival.
fn heard(folder: &Path) -> Result<Vec<(String, u64)>> {
    let text = fs::read_to_string(folder.join("heard")).unwrap_or_default();
    let read = |line: &str| {
        let document: Value = serde_json::from_str(line).context("a document in one line")?;
        let on = document["on"].as_str().context("on")?.to_owned();
        Ok((on, document["entry"].as_u64().context("entry")?))
    };
    text.lines().map(read).collect()
}

/// Each occasion is there, the first time in the order of the log.
fn assert_in_order(heard: &[(String, u64)], wanted: &[&str]) -> Result<()> {
    let mut first: Vec<&(String, u64)> = Vec::new();
    for one in heard {
        if !first.contains(&one) {
            first.push(one);
        }
    }
    let order: Vec<&str> = first.iter().map(|(on, _)| on.as_str()).collect();
    ensure!(order == wanted, "{heard:?}");
    ensure!(first.windows(2).all(|pair| pair[0].1 < pair[1].1), "{heard:?}");
    Ok(())
}

const AFTER: &str = "\"after_start\", \"after_switch\", \"failed\", \"aborted\"";

fn start(site: &Site, failpoint: &str) -> Result<rehome_tests::process::Process> {
    let tenant = TENANT.to_string();
    site.spawn(failpoint, &["migration", "start", "--tenant", &tenant, "--to", DEDICATED])
}

fn is_heard(site: &Site, on: &str) -> Result<bool> {
    Ok(heard(site.path())?.iter().any(|(heard, _)| heard == on))
}

#[test]
fn killed_after_a_delivery_that_was_not_noted() -> Result<()> {
    on_a_site(|site| {
        add_hook(site, "log", AFTER, "cat >> heard; echo >> heard")?;
        let load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        start(site, "hooks.delivered=kill")?.dies()?;
        let mut heir = site.spawn("", &["migration", "drive"])?;
        site.wait_for_phase("migrated")?;
        wait_for("the switch is heard of", || Ok(is_heard(site, "after_switch")?.then_some(())))?;
        heir.terminate()?;
        let heard = heard(site.path())?;
        ensure!(heard.iter().filter(|(on, _)| on == "after_start").count() >= 2, "{heard:?}");
        assert_in_order(&heard, &["after_start", "after_switch"])?;
        load.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}

/// The program kills who runs it, once, before it has noted anything: the switch is done by then, and nothing is left
/// to do for a driver.
#[test]
fn killed_while_hooks_hear_of_a_switch_that_is_done() -> Result<()> {
    on_a_site(|site| {
        let dies = "document=$(cat)\n\
            if [ \"$REHOME_ON\" = after_switch ] && [ ! -e died ]; then touch died; kill -9 $PPID; exit 1; fi\n\
            echo \"$document\" >> heard";
        add_hook(site, "log", AFTER, dies)?;
        let load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        start(site, "")?.dies()?;
        site.wait_for_phase("migrated")?;
        // Writers do not wait for hooks.
        site.wait_for_acks(20)?;
        let mut heir = site.spawn("", &["migration", "drive"])?;
        wait_for("the switch is heard of again", || {
            Ok(is_heard(site, "after_switch")?.then_some(()))
        })?;
        heir.terminate()?;
        assert_in_order(&heard(site.path())?, &["after_start", "after_switch"])?;
        load.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}
