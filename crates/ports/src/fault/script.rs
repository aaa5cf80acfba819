//! The script: what happens to which call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::gate::{Gate, Turnstile};
use super::op::Op;
use crate::{Fault, FaultKind};

/// The probability of each fault, for each call, with [`Script::random`]. The rest up to 1 is no fault.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chances {
    /// The call does not reach the inner port.
    pub refuse: f64,
    /// The call is applied and its reply is lost.
    pub lose: f64,
    /// The call is slow.
    pub slow: f64,
    /// Longest delay of a slow call.
    pub slow_max: Duration,
}

/// The faults of one decorator's calls; a test changes it while calls are running. All of its
/// methods can be called at any time and take effect with the next call that reaches them.
#[derive(Debug, Default)]
pub struct Script {
    plan: Mutex<Plan>,
    /// Moves with every call counted.
    counted: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Plan {
    calls: HashMap<Op, u64>,
    down: Vec<Op>,
    failing: Vec<(Op, FaultKind)>,
    refuse: Vec<(Op, u64)>,
    lose: Vec<(Op, u64)>,
    slow: Vec<(Op, Duration)>,
    gates_before: Vec<(Op, Arc<Turnstile>)>,
    gates_after: Vec<(Op, Arc<Turnstile>)>,
    random: Option<(SplitMix, Chances)>,
}

/// The random fault of one call.
#[derive(Clone, Copy, Debug, Default)]
struct Chance {
    refuse: bool,
    lose: bool,
    slow: Duration,
}

impl Script {
    /// A script under which nothing goes wrong yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Refuses the next `times` calls: the caller gets `Unreachable`, the inner port is not called.
    pub fn refuse(&self, op: impl Into<Op>, times: u64) {
        self.plan().refuse.push((op.into(), times));
    }

    /// Applies the next `times` calls and loses their replies, whatever they are: the caller
    /// gets `Unreachable` with `applied` set.
    pub fn lose_reply(&self, op: impl Into<Op>, times: u64) {
        self.plan().lose.push((op.into(), times));
    }

    /// Delays every such call before it reaches the inner port, until [`Script::heal`].
    pub fn slow(&self, op: impl Into<Op>, by: Duration) {
        self.plan().slow.push((op.into(), by));
    }

    /// Everything is down until [`Script::heal`]: refused before the inner port, and lost after it
    /// for calls that are already on their way.
    pub fn down(&self) {
        self.down_for(Op::Any);
    }

    /// The same for such calls only.
    pub fn down_for(&self, op: impl Into<Op>) {
        self.plan().down.push(op.into());
    }

    /// Every such call fails in this way until [`Script::heal`]: the inner port is not called.
    pub fn fail_with(&self, op: impl Into<Op>, kind: FaultKind) {
        self.plan().failing.push((op.into(), kind));
    }

    /// Throws dice for every call, the same for the same seed and order of calls.
    pub fn random(&self, seed: u64, chances: Chances) {
        self.plan().random = Some((SplitMix(seed), chances));
    }

    /// Ends every fault. Gates stay.
    pub fn heal(&self) {
        let mut plan = self.plan();
        *plan = Plan {
            calls: std::mem::take(&mut plan.calls),
            gates_before: std::mem::take(&mut plan.gates_before),
            gates_after: std::mem::take(&mut plan.gates_after),
            ..Plan::default()
        };
    }

    /// Stops the next such call before it reaches the inner port. A gate stops one call; of
    /// several gates the one set first.
    pub fn gate_before(&self, op: impl Into<Op>) -> Gate {
        let (gate, turnstile) = Gate::new();
        self.plan().gates_before.push((op.into(), turnstile));
        gate
    }

    /// Stops the next such call once the inner port has answered, before the reply.
    pub fn gate_after(&self, op: impl Into<Op>) -> Gate {
        let (gate, turnstile) = Gate::new();
        self.plan().gates_after.push((op.into(), turnstile));
        gate
    }

    /// How many such calls were made so far, whatever became of them.
    pub fn calls(&self, op: impl Into<Op>) -> u64 {
        let op = op.into();
        self.plan().calls.iter().filter(|(call, _)| op.includes(**call)).map(|(_, n)| n).sum()
    }

    /// Waits until so many such calls were made.
    pub async fn called(&self, op: impl Into<Op>, times: u64) {
        let op = op.into();
        let mut counted = self.counted.subscribe();
        // The sender is borrowed here, so the channel cannot close while we wait.
        let _ = counted.wait_for(|()| self.calls(op) >= times).await;
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one call by the script. `what` names the port in faults.
    pub(super) async fn run<T, E: From<Fault>>(
        &self,
        what: &str,
        call: Op,
        inner: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let (chance, gate) = self.plan().begin(call);
        self.counted.send_replace(());
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let delay = self.plan().delay(call).max(chance.slow);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.plan().refuses(call) || chance.refuse {
            return Err(unreachable(what, "refused by script").into());
        }
        let failing = self.plan().failing.iter().find(|(op, _)| op.includes(call)).cloned();
        if let Some((_, kind)) = failing {
            return Err(Fault::new(what, kind).into());
        }
        let reply = inner.await;
        let gate = take_gate(&mut self.plan().gates_after, call);
        if let Some(gate) = gate {
            gate.pass().await;
        }
        if self.plan().loses(call) || chance.lose {
            return Err(unreachable(what, "reply lost by script").maybe_applied().into());
        }
        reply
    }
}

fn unreachable(what: &str, why: &str) -> Fault {
    Fault::new(what, FaultKind::Unreachable(why.to_owned()))
}

fn take_gate(gates: &mut Vec<(Op, Arc<Turnstile>)>, call: Op) -> Option<Arc<Turnstile>> {
    let at = gates.iter().position(|(op, _)| op.includes(call))?;
    Some(gates.remove(at).1)
}

/// Decrements the first count that applies to `call`.
fn take_count(counts: &mut Vec<(Op, u64)>, call: Op) -> bool {
    counts.retain(|(_, left)| *left > 0);
    match counts.iter_mut().find(|(op, _)| op.includes(call)) {
        Some((_, left)) => {
            *left -= 1;
            true
        }
        None => false,
    }
}

impl Plan {
    /// Counts the call, throws its dice and finds its gate.
    fn begin(&mut self, call: Op) -> (Chance, Option<Arc<Turnstile>>) {
        *self.calls.entry(call).or_default() += 1;
        let chance = match &mut self.random {
            Some((dice, chances)) => dice.throw(chances),
            None => Chance::default(),
        };
        (chance, take_gate(&mut self.gates_before, call))
    }

    fn delay(&self, call: Op) -> Duration {
        let slow = self.slow.iter().filter(|(op, _)| op.includes(call));
        slow.map(|(_, by)| *by).max().unwrap_or_default()
    }

    fn is_down(&self, call: Op) -> bool {
        self.down.iter().any(|op| op.includes(call))
    }

    fn refuses(&mut self, call: Op) -> bool {
        self.is_down(call) || take_count(&mut self.refuse, call)
    }

    fn loses(&mut self, call: Op) -> bool {
        self.is_down(call) || take_count(&mut self.lose, call)
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Copy, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0 and below 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn throw(&mut self, chances: &Chances) -> Chance {
        // Always as many throws, so that a change of one chance does not shift all that follows.
        let (kind, slow, how_slow) = (self.fraction(), self.fraction(), self.fraction());
        Chance {
            refuse: kind < chances.refuse,
            lose: (chances.refuse..chances.refuse + chances.lose).contains(&kind),
            slow: if slow < chances.slow {
                chances.slow_max.mul_f64(how_slow)
            } else {
                Duration::ZERO
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_are_the_published_ones() {
        let mut dice = SplitMix(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| dice.next()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
