//! How one process reaches a store or the control plane: every call goes through here.

use std::fmt::Display;
use std::sync::Arc;

use rehome_domain::ids::EventId;
use rehome_ports::{ControlError, Fault, FaultKind, StoreError};
use tokio::sync::oneshot;

use crate::cluster::Stage;
use crate::faults::{CallId, Fate, Place};
use crate::life::Life;

/// One life of a process, as it makes calls.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) stage: Arc<Stage>,
    pub(crate) life: Arc<Life>,
    pub(crate) process: usize,
}

/// An error that may be a refusal, which coverage counts.
pub(crate) trait MayRefuse {
    /// The rule that refused it.
    fn refusal(&self) -> Option<String>;
}

impl MayRefuse for StoreError {
    fn refusal(&self) -> Option<String> {
        self.refused().map(|refused| format!("{:?}", refused.why))
    }
}

impl MayRefuse for ControlError {
    fn refusal(&self) -> Option<String> {
        match self {
            Self::Stale(_) => Some("stale".to_owned()),
            Self::Refused(_) => Some("not possible".to_owned()),
            _ => None,
        }
    }
}

/// The call, its arguments, and how the trace shows its result.
pub(crate) struct Ask<T> {
    pub(crate) place: Place,
    pub(crate) op: &'static str,
    pub(crate) with: String,
    pub(crate) tell: fn(&T) -> String,
}

impl Caller {
    /// Makes one call, by its fate. Once sent it arrives, whatever becomes of the caller.
    pub(crate) async fn call<T, E>(
        &self,
        ask: Ask<T>,
        inner: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + MayRefuse + Display + Send + 'static,
    {
        let stage = &self.stage;
        self.life.awake().await;
        if stage.is_endless() {
            return std::future::pending().await;
        }
        let call = stage.number(self.process, ask.place, ask.op);
        let fate = stage.fate(call);
        match fate {
            Some(Fate::KilledBefore) => return self.die(call).await,
            Some(Fate::AsleepBefore(ms)) => {
                self.sleep(call, ms);
                self.life.awake().await;
            }
            _ => {}
        }
        let (there, back) = stage.latency(call);
        let late = if let Some(Fate::Late(ms)) = fate { ms } else { 0 };
        let refused = fate == Some(Fate::Refused);
        let (reply, answer) = oneshot::channel();
        let at_place = Arc::clone(stage);
        tokio::spawn(async move {
            tokio::time::sleep(there + std::time::Duration::from_millis(late)).await;
            let trace = &at_place.trace;
            let with = &ask.with;
            if refused || at_place.is_out(call.place) {
                trace.line(format_args!("{call} {with} -> never arrives"));
                // The caller may be gone.
                let _ = reply.send(Err(unreachable(call.place).into()));
                return;
            }
            let answer = inner.await;
            match &answer {
                Ok(answer) => {
                    trace.line(format_args!("{call} {with} -> {}", (ask.tell)(answer)));
                }
                Err(error) => {
                    trace.line(format_args!("{call} {with} -> refused: {error}"));
                    if let Some(rule) = error.refusal() {
                        at_place.cover(format!("{} refused: {rule}", call.op));
                    }
                }
            }
            let _ = reply.send(answer);
        });
        let Ok(answer) = answer.await else { return std::future::pending().await };
        tokio::time::sleep(back).await;
        match fate {
            Some(Fate::KilledAfter) => return self.die(call).await,
            Some(Fate::AsleepAfter(ms)) => self.sleep(call, ms),
            _ => {}
        }
        self.life.awake().await;
        if fate == Some(Fate::Lost) || stage.is_out(call.place) {
            stage.trace.line(format_args!("{call} its reply is lost"));
            return Err(unreachable(call.place).maybe_applied().into());
        }
        answer
    }

    async fn die<T>(&self, call: CallId) -> T {
        self.stage.trace.line(format_args!("{call} is the last of its process"));
        // Not a later life's: this one may be dead already.
        if !self.life.is_dead() {
            self.stage.kill(self.process);
        }
        std::future::pending().await
    }

    fn sleep(&self, call: CallId, ms: u64) {
        self.stage.trace.line(format_args!("{call} its process sleeps for {ms} ms"));
        self.life.sleep(ms);
    }
}

fn unreachable(place: Place) -> Fault {
    Fault::new(place.to_string(), FaultKind::Unreachable("by the plan".to_owned()))
}

/// An event's id as the clients made it: who wrote it, and which it is.
pub(crate) fn event_name(id: EventId) -> String {
    let id = id.uuid().as_u128();
    format!("w{}-{}", id >> 64, id & u128::from(u64::MAX))
}
