//! One run of the checker: on one thread, breadth first, so that a schedule it finds is a shortest.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model as _, Path};

use crate::bounds::Bounds;
use crate::model::{Action, PROPERTIES, Protocol};
use crate::tell;
use crate::world::World;

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// The run.
    pub bounds: Bounds,
    /// States generated.
    pub generated: usize,
    /// Different states among them.
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
    run(bounds, HasDiscoveries::AnyFailures, None)
}

/// Visits the states within `bounds` that come first, until so many were generated.
pub fn first(bounds: Bounds, generated: usize) -> Report {
    run(bounds, HasDiscoveries::AnyFailures, Some(generated))
}

/// Searches for a schedule that violates the property of that number, from 1.
pub fn until_violated(bounds: Bounds, property: u8) -> Report {
    let name = PROPERTIES[usize::from(property) - 1];
    run(bounds, HasDiscoveries::AnyOf(BTreeSet::from([name])), None)
}

fn run(bounds: Bounds, enough: HasDiscoveries, generated_max: Option<usize>) -> Report {
    let begun = Instant::now();
    let checker = Protocol::new(bounds).checker().threads(1).finish_when(enough);
    let checker = match generated_max {
        Some(max) => checker.target_state_count(max),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let mut violations: Vec<_> =
        checker.discoveries().into_iter().map(|(name, path)| (name, schedule(path))).collect();
    violations.sort_unstable();
    Report {
        bounds,
        generated: checker.state_count(),
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: begun.elapsed(),
        violations,
    }
}

fn schedule(path: Path<World, Action>) -> String {
    let why = path.last_state().broken.map_or(String::new(), |(_, why)| format!("      {why}\n"));
    let steps = path.into_vec();
    let told = steps.iter().enumerate().filter_map(|(n, (world, action))| {
        let after = steps.get(n + 1).map(|(after, _)| after);
        Some(format!("  {:>3} {}\n", n + 1, tell::step(world, (*action)?, after)))
    });
    told.chain([why]).collect()
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
