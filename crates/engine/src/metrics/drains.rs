//! The series of drains: few for each, of those that are not over and of those that ended a short time ago.
//! Every process that serves exports them, as the control plane has them.

use std::fmt;

use rehome_domain::drain::{Halt, State};

use super::families as f;
use super::out::Out;

/// A drain as a scrape shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct DrainReport {
    /// The id.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// The stores that it empties, with a comma between two.
    pub sources: String,
    /// Where the tenants go.
    pub targets: String,
    /// How many tenants are in each state, by its name.
    pub tenants: Vec<(&'static str, u64)>,
    /// Moves that were begun, came to their target and were given up.
    pub moves: [u64; 3],
    /// Events of the tenants that are to be moved.
    pub events: u64,
    /// Events of those that were moved.
    pub events_moved: u64,
    /// Bytes that this process has copied for it.
    pub bytes: u64,
    /// Failures since it was started or resumed.
    pub failures: u64,
    /// At how many it pauses; 0: at none.
    pub failures_max: u64,
    /// Processes that work on it.
    pub workers: u64,
    /// Its window is open, or it has none.
    pub window_open: bool,
    /// When the window opens next, if it is closed: Unix time in seconds.
    pub window_opens_at: Option<f64>,
    /// The window that closed last has passed without a move, although there were tenants to move.
    pub window_missed: bool,
    /// When it got further last: Unix time in seconds.
    pub progressed_at: f64,
    /// Seconds until it is over at the rate so far, if that is known.
    pub remaining: Option<f64>,
    /// Things that need an operator.
    pub needs: u64,
}

/// The value of `drain_state`.
const fn number(state: State) -> u8 {
    match state {
        State::Running => 0,
        State::Paused(Halt::Operator) => 1,
        State::Paused(Halt::Budget) => 2,
        State::Cancelling => 3,
        State::Cancelled => 4,
        State::Finished => 5,
    }
}

pub(super) fn tell(drains: &[DrainReport], out: &mut Out<'_>) -> fmt::Result {
    let each = |value: fn(&DrainReport) -> f64| drains.iter().map(move |d| ([&*d.id], value(d)));
    let known = |value: fn(&DrainReport) -> Option<f64>| {
        drains.iter().filter_map(move |d| Some(([&*d.id], value(d)?)))
    };
    let flag = |is: bool| f64::from(u8::from(is));
    out.write(f::DRAIN_STATE, each(|d| f64::from(number(d.state))))?;
    let info = drains.iter().map(|d| ([&*d.id, &*d.sources, &*d.targets], 1.0));
    out.write(f::DRAIN_INFO, info)?;
    let tenants = drains.iter().flat_map(|d| {
        d.tenants.iter().map(move |(state, count)| ([&*d.id, *state], *count as f64))
    });
    out.write(f::DRAIN_TENANTS, tenants)?;
    let moves = drains.iter().flat_map(|d| {
        let steps = ["begun", "finished", "failed"].into_iter().zip(d.moves);
        steps.map(move |(step, count)| ([&*d.id, step], count as f64))
    });
    out.write(f::DRAIN_MOVES, moves)?;
    out.write(f::DRAIN_EVENTS, each(|d| d.events as f64))?;
    out.write(f::DRAIN_EVENTS_MOVED, each(|d| d.events_moved as f64))?;
    out.write(f::DRAIN_BYTES, each(|d| d.bytes as f64))?;
    out.write(f::DRAIN_FAILURES, each(|d| d.failures as f64))?;
    out.write(f::DRAIN_FAILURES_MAX, each(|d| d.failures_max as f64))?;
    out.write(f::DRAIN_WORKERS, each(|d| d.workers as f64))?;
    let open = drains.iter().map(|d| ([&*d.id], flag(d.window_open)));
    out.write(f::DRAIN_WINDOW_OPEN, open)?;
    out.write(f::DRAIN_WINDOW_OPENS, known(|d| d.window_opens_at))?;
    let missed = drains.iter().map(|d| ([&*d.id], flag(d.window_missed)));
    out.write(f::DRAIN_WINDOW_MISSED, missed)?;
    out.write(f::DRAIN_PROGRESS, each(|d| d.progressed_at))?;
    out.write(f::DRAIN_REMAINING, known(|d| d.remaining))?;
    out.write(f::DRAIN_NEEDS, each(|d| d.needs as f64))
}
