//! One run, from its plan to its violations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::stream::ExpectedVersion;
use rehome_ports::EventStore as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clients::{Client, append, ids};
use crate::cluster::Stage;
use crate::coverage::Coverage;
use crate::faults::{CallId, Fate};
use crate::mutant::Mutant;
use crate::plan::{PROCESSES, Plan};
use crate::{liveness, operator};

const WRITERS: u64 = 4;
const READERS: u64 = 2;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of the whole trace.
    pub trace_hash: u64,
    /// Lines of the trace.
    pub trace_length: u64,
    /// The lines, if requested.
    pub trace: Vec<String>,
    /// What cannot be; empty in a run that is as it should be.
    pub violations: Vec<String>,
    /// Which states it came to.
    pub coverage: Coverage,
    /// What befell its calls.
    pub struck: BTreeMap<CallId, Fate>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        for violation in &self.violations {
            writeln!(f, "violated: {violation}")?;
        }
        Ok(())
    }
}

/// The run of a seed.
pub fn run(seed: u64) -> Outcome {
    run_with(&Plan::new(seed), None, false)
}

/// The run of a plan, with a port that is broken or not. `keep`: with the lines of its trace.
pub fn run_with(plan: &Plan, mutant: Option<Mutant>, keep: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread needs nothing of the system");
    runtime.block_on(async {
        let stage = Stage::new(plan.clone(), mutant, keep);
        Box::pin(play(&stage)).await;
        Outcome {
            trace_hash: stage.trace.hash(),
            trace_length: stage.trace.count(),
            trace: stage.trace.lines(),
            violations: stage.book(|book| book.violations().to_vec()),
            coverage: stage.covered(),
            struck: stage.struck(),
        }
    })
}

async fn play(stage: &Arc<Stage>) {
    let began = Instant::now();
    history(stage).await;
    for index in 1..=PROCESSES {
        stage.start(index);
    }
    let stop = CancellationToken::new();
    let client = |number| Client { stage: Arc::clone(stage), number, stop: stop.clone() };
    for number in 1..=WRITERS {
        tokio::spawn(client(number).write());
    }
    for number in 1..=READERS {
        tokio::spawn(client(number).read());
    }
    tokio::spawn(client(1).follow());
    for (at, action) in &stage.plan.actions {
        tokio::time::sleep_until(began + Duration::from_millis(*at)).await;
        tokio::spawn(operator::act(Arc::clone(stage), *action));
    }
    let length = Duration::from_millis(stage.plan.length_ms());
    tokio::time::sleep_until(began + length).await;
    stop.cancel();
    Box::pin(liveness::end(stage)).await;
}

/// What the tenant has before the run begins: in half of the runs, nothing.
async fn history(stage: &Arc<Stage>) {
    let mut dice = stage.dice.of("history");
    let appends = dice.pick(&[0, 0, 12, 45]);
    if appends == 0 {
        return;
    }
    let process = stage.start(0);
    for n in 1..=appends {
        let append = append(50, n, 1, dice.pick(&["old-1", "old-2"]), ExpectedVersion::Any);
        let ids = ids(&append);
        stage.book(|book| book.sends(&ids, &append.stream, append.expected));
        match process.engine.router().append(stage.tenant, append).await {
            Ok(told) => stage.book(|book| book.acknowledged(&ids, told)),
            Err(error) => stage.violated(format!("the history was not taken: {error}")),
        }
    }
    process.life.kill();
}
