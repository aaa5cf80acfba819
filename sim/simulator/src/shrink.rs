//! Cuts a failing run down to what it needs to fail.

use std::collections::BTreeMap;
use std::fmt;

use crate::mutant::Mutant;
use crate::plan::{Faults, Plan};
use crate::run::{Outcome, run_with};

/// Maximum number of runs for minimising.
const RUNS_MAX: u32 = 400;

/// A failing run and the smallest one found that fails as well.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The minimised plan.
    pub plan: Plan,
    /// How that ends, with its trace.
    pub outcome: Outcome,
    /// The number of runs.
    pub runs: u32,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}found in {} runs; its trace:\n", self.plan, self.runs)?;
        self.outcome.fmt(f)
    }
}

/// Leaves out actions and faults, by halves, then by fewer, for as long as the run still fails.
/// `None` when the run of this plan does not fail.
pub fn shrink(plan: &Plan, mutant: Option<Mutant>) -> Option<Shrunk> {
    let first = run_with(plan, mutant, false);
    if first.violations.is_empty() {
        return None;
    }
    let mut search = Search { mutant, runs: 1 };
    let mut plan = Plan { faults: Faults::Only(first.struck), ..plan.clone() };
    let mut chunk = items(&plan).div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        let mut smaller = false;
        while at < items(&plan) {
            let tried = without(&plan, at, chunk);
            if search.fails(&tried) {
                plan = tried;
                smaller = true;
            } else {
                at += chunk;
            }
        }
        // Once more with single ones, as long as that finds something.
        chunk = if chunk == 1 && smaller { 1 } else { chunk / 2 };
        if search.runs >= RUNS_MAX {
            break;
        }
    }
    let outcome = run_with(&plan, mutant, true);
    Some(Shrunk { plan, outcome, runs: search.runs })
}

struct Search {
    mutant: Option<Mutant>,
    runs: u32,
}

impl Search {
    fn fails(&mut self, plan: &Plan) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        !run_with(plan, self.mutant, false).violations.is_empty()
    }
}

fn faults(plan: &Plan) -> usize {
    match &plan.faults {
        Faults::Drawn => 0,
        Faults::Only(fates) => fates.len(),
    }
}

fn items(plan: &Plan) -> usize {
    faults(plan) + plan.actions.len()
}

/// The plan without `count` of its faults and actions, the first of them at `at`.
fn without(plan: &Plan, at: usize, count: usize) -> Plan {
    let gone = at..at + count;
    let mut plan = plan.clone();
    let faults = faults(&plan);
    if let Faults::Only(fates) = &mut plan.faults {
        let kept = std::mem::take(fates).into_iter().enumerate();
        *fates = kept
            .filter(|(index, _)| !gone.contains(index))
            .map(|(_, fate)| fate)
            .collect::<BTreeMap<_, _>>();
    }
    let mut index = faults;
    plan.actions.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
    plan
}
