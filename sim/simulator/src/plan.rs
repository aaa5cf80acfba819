//! What a run is to be: drawn from the seed before anything happens, so that it can be cut down.

use std::collections::BTreeMap;
use std::fmt;

use rehome_domain::event::Timestamp;
use rehome_domain::migration::{CutoverPolicy, MirrorAck, Options};
use rehome_domain::verification::Level;

use crate::dice::Dice;
use crate::faults::Favourite;
pub use crate::faults::{CallId, Fate, Place};
use crate::mutant::Mutant;

/// How many processes serve clients and drive migrations.
pub(crate) const PROCESSES: usize = 3;
/// The wall clock at the beginning of a run.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all that is drawn comes from.
    pub seed: u64,
    /// What operators and the world do, and when, in milliseconds from the beginning.
    pub actions: Vec<(u64, Action)>,
    /// The faults of calls.
    pub faults: Faults,
    /// Which of them more often than others.
    pub favourite: Favourite,
}

/// Which calls get a fault.
#[derive(Clone, Debug)]
pub enum Faults {
    /// Drawn for each call.
    Drawn,
    /// These and no others.
    Only(BTreeMap<CallId, Fate>),
}

/// Something that is done at its time, from 1: through process `by`.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// A migration to the store where the tenant is not.
    Start {
        /// Through which process.
        by: usize,
        /// With these options.
        options: Options,
    },
    /// The same within a rollback window.
    Return {
        /// Through which process.
        by: usize,
        /// With these options.
        options: Options,
    },
    /// Pauses the last migration.
    Pause(usize),
    /// Resumes it.
    Resume(usize),
    /// Requests its cutover.
    CutOver(usize),
    /// Takes it back.
    Withdraw(usize),
    /// Aborts it.
    Abort {
        /// Through which process.
        by: usize,
        /// Whether the copy is to be removed.
        purge: bool,
    },
    /// Changes its options.
    Tune {
        /// Through which process.
        by: usize,
        /// To these.
        options: Options,
    },
    /// Records a violation of its copy, although there is none, and has it repaired.
    Repair(usize),
    /// Closes its rollback window.
    CloseWindow(usize),
    /// Removes the copy that the tenant left behind.
    Purge(usize),
    /// A process dies; it is started again some time later.
    Kill(usize),
    /// A process sleeps for so many milliseconds.
    Sleep(usize, u64),
    /// A store or the control plane is unreachable for this many milliseconds.
    Outage(Place, u64),
}

impl Plan {
    /// The run of this seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed).of("actions");
        let mut actions = vec![(dice.between(1, 150), Action::start(&mut dice))];
        let mut at = 0;
        for _ in 0..dice.between(8, 20) {
            at += dice.between(60, 600);
            actions.push((at, Action::draw(&mut dice)));
        }
        let favourite = Favourite::draw(Dice::new(seed));
        Self { seed, actions, faults: Faults::Drawn, favourite }
    }

    /// The run of this seed with more faults at the steps at which the mutant would show.
    pub fn against(mutant: Mutant, seed: u64) -> Self {
        let mut plan = Self::new(seed);
        if let Some(steps) = mutant.favourite() {
            plan.favourite.steps = steps;
        }
        match mutant {
            Mutant::RevisionIgnored => plan.switched_late(),
            Mutant::AdoptedAtAnyEpoch => plan.adopted_late(),
            _ => plan,
        }
    }

    /// The run of this seed with one migration whose driver dies while its `adopt` is on its way. It
    /// arrives late: at a target that another driver has adopted, and perhaps activated.
    fn adopted_late(self) -> Self {
        let mut dice = Dice::new(self.seed).of("adopted late");
        let call = CallId { process: 1, place: Place::B, op: "adopt", nth: 1 };
        let late = Fate::Late(dice.between(500, 5_000));
        let start = (20, Action::Start { by: 1, options: Options::default() });
        Self {
            actions: vec![start, (200, Action::Kill(1)), (5_500, Action::Resume(2))],
            faults: Faults::Only([(call, late)].into()),
            ..self
        }
    }

    /// The run of this seed with one migration whose first switch comes late, and the fence of its
    /// second cutover too. How late is drawn: the switch has to arrive before the second cutover's fence.
    fn switched_late(self) -> Self {
        let mut dice = Dice::new(self.seed).of("switched late");
        let options = Options { cutover_timeout_ms: 60, ..Options::default() };
        let mut late = BTreeMap::new();
        for process in 1..=PROCESSES {
            let mut call = |place, op, nth, ms| {
                late.insert(CallId { process, place, op, nth }, Fate::Late(ms));
            };
            call(Place::Control, "switched", 1, dice.between(60, 500));
            call(Place::A, "fence", 2, dice.between(20, 50));
        }
        let start = (20, Action::Start { by: 1, options });
        Self {
            actions: vec![start, (2_000, Action::Resume(1))],
            faults: Faults::Only(late),
            ..self
        }
    }

    /// When the last action is done.
    pub(crate) fn length_ms(&self) -> u64 {
        self.actions.iter().map(|(at, _)| *at).max().unwrap_or(0) + 300
    }

    /// How rough the run is, in percent of the usual.
    pub(crate) fn roughness(&self) -> u64 {
        Dice::new(self.seed).of("roughness").pick(&[0, 40, 100, 100, 160, 250])
    }
}

impl Action {
    fn start(dice: &mut Dice) -> Self {
        Self::Start { by: process(dice), options: options(dice) }
    }

    fn draw(dice: &mut Dice) -> Self {
        let by = process(dice);
        match dice.throw() % 100 {
            0..24 => Self::start(dice),
            24..32 => Self::Return { by, options: options(dice) },
            32..38 => Self::Pause(by),
            38..47 => Self::Resume(by),
            47..55 => Self::CutOver(by),
            55..57 => Self::Withdraw(by),
            57..63 => Self::Abort { by, purge: dice.permille(500) },
            63..66 => Self::Repair(by),
            66..69 => Self::Tune { by, options: options(dice) },
            69..73 => Self::CloseWindow(by),
            73..80 => Self::Purge(by),
            80..87 => Self::Kill(by),
            87..94 => Self::Sleep(by, dice.between(100, 2_000)),
            _ => {
                let place = dice.pick(&[Place::A, Place::B, Place::Control]);
                Self::Outage(place, dice.between(50, 1_200))
            }
        }
    }
}

fn process(dice: &mut Dice) -> usize {
    dice.pick(&[1, 2, 3])
}

fn options(dice: &mut Dice) -> Options {
    let soon = BEGINNING.micros() + 1_000_000;
    let policies = [
        CutoverPolicy::Auto,
        CutoverPolicy::Auto,
        CutoverPolicy::Auto,
        CutoverPolicy::Auto,
        CutoverPolicy::Manual,
        CutoverPolicy::At(Timestamp::from_micros(soon)),
    ];
    Options {
        batch_events: dice.pick(&[3, 10, 30]),
        lag_events_max: dice.pick(&[2, 8, 40]),
        cutover: dice.pick(&policies),
        cutover_timeout_ms: dice.pick(&[20, 60, 200, 600]),
        mirror_ack: dice.pick(&[MirrorAck::Source, MirrorAck::Source, MirrorAck::Target]),
        mirror_ack_timeout_ms: 50,
        verification: dice.pick(&[Level::Count, Level::Hash, Level::Full]),
        rollback_window_ms: dice.pick(&[0, 0, 400, 2_000, 60_000]),
        ..Options::default()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { by, options } => write!(f, "start through p{by}, {}", Tuning(options)),
            Self::Return { by, options } => write!(f, "return through p{by}, {}", Tuning(options)),
            Self::Pause(by) => write!(f, "pause through p{by}"),
            Self::Resume(by) => write!(f, "resume through p{by}"),
            Self::CutOver(by) => write!(f, "cut over through p{by}"),
            Self::Withdraw(by) => write!(f, "withdraw the cutover through p{by}"),
            Self::Abort { by, purge } => write!(f, "abort through p{by}, purge: {purge}"),
            Self::Tune { by, options } => write!(f, "tune through p{by}, {}", Tuning(options)),
            Self::Repair(by) => write!(f, "repair through p{by}"),
            Self::CloseWindow(by) => write!(f, "close the window through p{by}"),
            Self::Purge(by) => write!(f, "purge through p{by}"),
            Self::Kill(process) => write!(f, "p{process} dies"),
            Self::Sleep(process, ms) => write!(f, "p{process} sleeps for {ms} ms"),
            Self::Outage(place, ms) => write!(f, "{place} cannot be reached for {ms} ms"),
        }
    }
}

struct Tuning<'a>(&'a Options);

impl fmt::Display for Tuning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { batch_events, lag_events_max, cutover, cutover_timeout_ms, .. } = self.0;
        let cutover = match cutover {
            CutoverPolicy::Auto => "auto",
            CutoverPolicy::Manual => "manual",
            CutoverPolicy::At(_) => "after a second",
        };
        write!(
            f,
            "batches of {batch_events}, lag {lag_events_max}, cutover {cutover} within \
             {cutover_timeout_ms} ms, window {} ms",
            self.0.rollback_window_ms
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for (at, action) in &self.actions {
            writeln!(f, "  at {at:>5} ms: {action}")?;
        }
        if let Faults::Only(faults) = &self.faults {
            for (call, fate) in faults {
                writeln!(f, "  {call}: {fate}")?;
            }
        }
        Ok(())
    }
}
