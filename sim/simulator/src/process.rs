//! One process: its own engine, which serves clients and drives migrations without a driver.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::migration::{Fact, RollBackReason};
use rehome_engine::migration::{Operations, Supervisor};
use rehome_engine::{CutoverPart, Engine, EngineConfig, Observer, Observers, Signal, Stores};
use rehome_ports::{ControlPlane, LedgerStore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::call::Caller;
use crate::cluster::{Stage, store_id};
use crate::control::SimulatedControl;
use crate::faults::Place;
use crate::life::Life;
use crate::store::SimulatedStore;

/// One life of a process.
pub(crate) struct Process {
    pub(crate) index: usize,
    /// Which life of it this is, from 1.
    pub(crate) incarnation: u64,
    pub(crate) life: Arc<Life>,
    pub(crate) engine: Engine,
    pub(crate) supervisor: Supervisor,
    pub(crate) operations: Operations,
    _work: Option<AbortOnDropHandle<()>>,
}

impl Process {
    /// Starts the process: process 0 only serves, the others drive migrations too.
    pub(crate) fn start(stage: &Arc<Stage>, index: usize) -> Self {
        let incarnation = stage.number(index, Place::Control, "starts").nth;
        let life = Arc::new(Life::new());
        let caller = Caller { stage: Arc::clone(stage), life: Arc::clone(&life), process: index };
        let store = |place, inner| -> Arc<dyn LedgerStore> {
            Arc::new(SimulatedStore { caller: caller.clone(), place, inner: Arc::clone(inner) })
        };
        let stores = [store(Place::A, &stage.a), store(Place::B, &stage.b)];
        let deaf = stage.dice.of("deaf").nth(index as u64).nth(incarnation).permille(300);
        let inner = Arc::clone(&stage.control);
        let control: Arc<dyn ControlPlane> =
            Arc::new(SimulatedControl { caller: caller.clone(), inner, deaf });
        let watcher: Arc<dyn Observer> = Arc::new(Watcher { stage: Arc::clone(stage), index });
        let engine = Engine::watched(
            control,
            Stores::new(stores, store_id("a")).expect("store a is one of them"),
            Arc::clone(&stage.clock),
            config(stage),
            Observers::new([watcher]),
        );
        let supervisor = Supervisor::new(&engine, format!("p{index}/{incarnation}"));
        let operations = Operations::new(&engine, format!("operator at p{index}"));
        let work = (index != 0).then(|| {
            let supervisor = supervisor.clone();
            AbortOnDropHandle::new(tokio::spawn(async move {
                supervisor.run_all(&CancellationToken::new()).await;
            }))
        });
        Self { index, incarnation, life, engine, supervisor, operations, _work: work }
    }

    /// Does something in this process; `None` when the process dies before it is done.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.life.death() => None,
            done = work => Some(done),
        }
    }
}

fn config(stage: &Stage) -> EngineConfig {
    let mut dice = stage.dice.of("config");
    let (queue_appends, group_appends) = dice.pick(&[(1, 1), (4, 3), (64, 16)]);
    EngineConfig {
        write_pause_timeout: Duration::from_millis(dice.pick(&[150, 400, 1_500])),
        queue_appends,
        group_appends,
        pause_poll: Duration::from_millis(5),
        pause_poll_told: Duration::from_millis(20),
        mirror_poll: Duration::from_millis(15),
        mirror_pace: Duration::from_millis(10),
        driver_poll: Duration::from_millis(25),
        idle_poll: Duration::from_millis(200),
        lease_ttl: Duration::from_millis(600),
        retry_max: Duration::from_millis(300),
        // Its stores are slow at random, and it would wait for most of a run.
        brake_goal: None,
        cutover_retry: Duration::from_millis(50),
        // In some runs: each anchor is a call more between those of the protocol, and rare states get rarer.
        anchors_within: Duration::from_millis(stage.dice.of("anchors").pick(&[0, 0, 0, 40, 400])),
        ..EngineConfig::default()
    }
}

/// Receives one process's signals.
struct Watcher {
    stage: Arc<Stage>,
    index: usize,
}

impl Observer for Watcher {
    fn hear(&self, signal: &Signal<'_>) {
        let (stage, index) = (&self.stage, self.index);
        match signal {
            Signal::Seen { migration } => {
                stage.cover(format!("phase {}", migration.state.phase()));
            }
            Signal::Taken { migration, taken_over, .. } => {
                let name = stage.trace.name(migration.id);
                stage.trace.line(format_args!("p{index} drives {name}"));
                if *taken_over {
                    stage.cover(format!("taken over in {}", migration.state.phase()));
                }
            }
            Signal::Left { migration, .. } => {
                let name = stage.trace.name(migration.id);
                stage.trace.line(format_args!("p{index} drives {name} no more"));
            }
            Signal::Recorded { fact, actor, .. } => {
                stage.cover(format!("fact {}", fact.name()));
                match fact {
                    Fact::Switched { .. } => stage.cover("switched by a driver"),
                    Fact::CutoverRolledBack { .. } if *actor == "router" => {
                        stage.cover("rolled back by a router");
                    }
                    Fact::CutoverRolledBack { reason: RollBackReason::TimedOut } => {
                        stage.cover("rolled back by a driver, too late");
                    }
                    Fact::CutoverRolledBack { .. } => {
                        stage.cover("rolled back by a driver, failed");
                    }
                    Fact::Failed { error } => {
                        stage.violated(format!(
                            "a migration failed, and nothing is broken: {error}"
                        ));
                    }
                    _ => {}
                }
            }
            Signal::Cutover { part: CutoverPart::Refused, .. } => stage.cover("cutover not ready"),
            Signal::Retrying { error, .. } => {
                stage.trace.line(format_args!("p{index} tries again: {error}"));
            }
            Signal::Verified { report, .. } if report.violations_total > 0 => {
                let first = report.violations.first().map(ToString::to_string).unwrap_or_default();
                stage.violated(format!("verification found a violation: {first}"));
            }
            Signal::Violated { violation, .. } => {
                stage.violated(format!("the read-back found a violation: {violation}"));
            }
            _ => {}
        }
    }
}
