//! What will be done and when, drawn from a seed.

use std::time::Duration;

use rehome_cluster::Direction;

use super::draw::Draw;
use super::{Server, Who};

/// One thing to do, so long after the one before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) after: Duration,
    pub(super) what: What,
}

/// A fault. A time is its duration.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// `kill -9`; it is started again.
    Kill(Who),
    /// SIGSTOP.
    Stop(Who, Duration),
    /// The server is stopped as an administrator does, and begins again.
    Restart(Server, Duration),
    /// `kill -9` to all of the server's processes, which begins again.
    Crash(Server, Duration),
    /// SIGSTOP to all of them.
    Pause(Server, Duration),
    /// All connections of one process to one server are reset.
    Cut(Who, Server),
    /// It gets no new ones.
    Refuse(Who, Server, Duration),
    /// Nothing comes through that way.
    Stall(Who, Server, Direction, Duration),
    /// Everything comes later.
    Delay(Who, Server, Duration),
    /// The next request arrives and its answer does not.
    LoseReply(Who, Server),
}

/// A named point of the protocol, and whether a process dies or falls asleep there.
pub(super) type Failpoint = Option<String>;

/// Points on a driver's way. Those of an abort and of a rollback window are in the crash tests.
const POINTS: [&str; 13] = [
    "prepare.adopted",
    "copy.extended",
    "copy.completed",
    "cutover.ready",
    "cutover.intent",
    "cutover.fenced",
    "cutover.caught_up",
    "cutover.compared",
    "cutover.switched",
    "cutover.activated",
    "roll_back.begin",
    "roll_back.recorded",
    "roll_back.activated",
];

/// A script for the way of a tenant from one store to the other.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    /// Draws what processes are started with, one after the other.
    armed: Draw,
}

const WHO: [Who; 4] = [Who::App(0), Who::App(1), Who::Driver(0), Who::Driver(1)];
const SERVERS: [Server; 3] = [Server::Shared, Server::Dedicated, Server::Control];

impl Script {
    pub(super) fn draw(seed: u64, steps: usize) -> Self {
        let mut draw = Draw::new(seed);
        let armed = Draw::new(draw.below(u64::MAX));
        let steps = (0..steps).map(|_| step(&mut draw)).collect();
        Self { steps, armed }
    }

    /// What the next driver, or application, is started with.
    pub(super) fn next_failpoint(&mut self, who: Who) -> Failpoint {
        let (armed, action) = (self.armed.below(3), self.armed.one_of(&["kill", "stop"]));
        let point = self.armed.one_of(&POINTS);
        match who {
            Who::Driver(_) => (armed > 0).then(|| format!("{point}={action}")),
            Who::App(_) => (armed == 0).then(|| format!("router.routed={action}")),
        }
    }

    /// How long a process that fell asleep at a failpoint sleeps.
    pub(super) fn next_sleep(&mut self) -> Duration {
        Duration::from_millis(self.armed.within(200..3_000))
    }
}

fn step(draw: &mut Draw) -> Step {
    let after = Duration::from_millis(draw.within(50..1_000));
    let (who, server) = (draw.one_of(&WHO), draw.one_of(&SERVERS));
    let time = Duration::from_millis(draw.within(100..2_500));
    let direction = draw.one_of(&[Direction::Up, Direction::Down]);
    let what = match draw.below(12) {
        0 | 1 => What::Kill(who),
        2 | 3 => What::Stop(who, time),
        4 => What::Restart(server, time),
        5 => What::Crash(server, time),
        6 => What::Pause(server, time),
        7 => What::Cut(who, server),
        8 => What::Refuse(who, server, time),
        9 => What::Stall(who, server, direction, time),
        10 => What::Delay(who, server, time),
        _ => What::LoseReply(who, server),
    };
    Step { after, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_script() {
        let told = |seed| {
            let mut script = Script::draw(seed, 20);
            let armed: Vec<_> = WHO.iter().map(|who| script.next_failpoint(*who)).collect();
            let sleep = script.next_sleep();
            format!("{:?} {armed:?} {sleep:?}", script.steps)
        };
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
    }
}
