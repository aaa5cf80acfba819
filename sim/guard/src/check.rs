//! One run of the checker: on one thread, breadth first, so that a schedule it finds is a shortest.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model as _, Path};

use crate::bounds::Bounds;
use crate::model::{Action, Guarded, PROPERTIES};
use crate::world::World;

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// The run.
    pub bounds: Bounds,
    /// Different states.
    pub states: usize,
    /// Most steps from the beginning to one of them.
    pub depth: usize,
    /// Its duration.
    pub took: Duration,
    /// Each property that was violated, with the shortest schedule.
    pub violations: Vec<(&'static str, String)>,
}

/// Visits every state within `bounds`.
pub fn all(bounds: Bounds) -> Report {
    run(bounds, HasDiscoveries::AnyFailures)
}

/// Searches for a schedule that violates the property of that number, from 1.
pub fn until_violated(bounds: Bounds, property: u8) -> Report {
    let name = PROPERTIES[usize::from(property) - 1];
    run(bounds, HasDiscoveries::AnyOf(BTreeSet::from([name])))
}

fn run(bounds: Bounds, enough: HasDiscoveries) -> Report {
    let begun = Instant::now();
    let checker = Guarded(bounds).checker().threads(1).finish_when(enough).spawn_bfs().join();
    let mut violations: Vec<_> =
        checker.discoveries().into_iter().map(|(name, path)| (name, schedule(path))).collect();
    violations.sort_unstable();
    Report {
        bounds,
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: begun.elapsed(),
        violations,
    }
}

fn schedule(path: Path<World, Action>) -> String {
    let why = path.last_state().broken.map_or(String::new(), |(_, why)| format!("      {why}\n"));
    let steps = path.into_vec();
    let lines = steps.iter().enumerate().filter_map(|(n, (world, action))| {
        let action = (*action)?;
        let what = match action {
            Action::Step(which) => format!("writer {which}: {:?}, next", world.writers[which].at),
            Action::Advance => format!("driver: {:?}, next", world.stage),
            other => format!("{other:?}"),
        };
        Some(format!("  {:>3} {what}\n", n + 1))
    });
    lines.chain([why]).collect()
}

impl Report {
    /// The schedule that violates the property of that number, from 1.
    pub fn schedule(&self, property: u8) -> Option<&str> {
        let name = PROPERTIES[usize::from(property) - 1];
        self.violations.iter().find(|(violated, _)| *violated == name).map(|(_, text)| &**text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        write!(f, "{:<58}", self.bounds.name)?;
        write!(f, "{:>10} states, {:>3} steps deep, {seconds:>6.1} s", self.states, self.depth)?;
        for (name, schedule) in &self.violations {
            write!(f, "\nviolated: {name}\n{schedule}")?;
        }
        Ok(())
    }
}
