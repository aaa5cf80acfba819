//! Schedules in words that a person can follow.

use std::fmt;

use rehome_domain::ledger::Activation;

use crate::call::{Call, ControlCall, StoreCall};
use crate::model::{Action, Process, Protocol};
use crate::names::{PROBE, Site, event_id};
use crate::store::Store;
use crate::world::{Durable, World};

/// The description of `action` in `world`, and the durable state after it if that has changed.
pub(crate) fn step(world: &World, action: Action, after: Option<&World>) -> String {
    let mut text = match action {
        Action::Step(process) => told(world, process, ""),
        Action::Lose(process) => told(world, process, ", gives up waiting"),
        Action::Read => format!("reader: {}", world.reader.call()),
        Action::Arrive(late) => format!("what was given up arrives: {}", world.late[late]),
        Action::Observe { driver, id, eager, .. } => {
            let now = if eager { ", and it is time" } else { "" };
            format!("driver {driver}: looks at migration {id}{now}")
        }
        Action::RouterHears(router) => format!("router {router}: hears of the changed route"),
        Action::ReaderHears => "reader: hears of the changed route".to_owned(),
        Action::Crash(process) => format!("{process} dies and is started again"),
        Action::Expire(process) => format!("{process}: the deadline has passed"),
        Action::Start => "operator: starts a migration to the other store".to_owned(),
        Action::Decide(change) => format!("operator: {}", change.fact().name()),
        Action::BeginPurge(site) => format!("operator: asks for the purge of {site}"),
        Action::BeginRemoval => "operator: asks for the removal of the tenant".to_owned(),
        Action::LoseHistory { site, all } => {
            format!("{site} loses {}", if all { "all" } else { "its last event" })
        }
    };
    if let Some(after) = after.filter(|after| after.durable != world.durable) {
        text = format!("{text:<64} -> {}", after.durable);
    }
    text
}

fn told(world: &World, process: Process, how: &str) -> String {
    match Protocol::call(world, process) {
        Some(call) => format!("{process}: {call}{how}"),
        None => format!("{process}: nothing"),
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(n) => write!(f, "router {n}"),
            Self::Driver(n) => write!(f, "driver {n}"),
            Self::Purger => f.write_str("operator"),
            Self::Remover => f.write_str("remover"),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(site, call) => write!(f, "{site}.{call}"),
            Self::Control(ControlCall::Route) => f.write_str("reads the route"),
            Self::Control(ControlCall::Create) => f.write_str("reads or creates the route"),
            Self::Control(ControlCall::MarkCreated(epoch)) => write!(f, "created at {epoch}"),
            Self::Control(ControlCall::Remove { rev, turn, .. }) => {
                write!(f, "records {turn:?} of the removal on rev {rev}")
            }
            Self::Control(ControlCall::Migration(id)) => write!(f, "reads migration {id}"),
            Self::Control(ControlCall::Record { id, rev, change }) => {
                write!(f, "records {} of migration {id}", change.fact().name())?;
                rev.map_or(Ok(()), |rev| write!(f, " on rev {rev}"))
            }
        }
    }
}

impl fmt::Display for StoreCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { epoch, write, expected } => {
                write!(f, "append(@{epoch}, event {write}")?;
                expected.map_or(Ok(()), |version| write!(f, ", version {version}"))?;
                f.write_str(")")
            }
            Self::Commit { write, .. } => write!(f, "commit(event {write})"),
            Self::Ledger => f.write_str("ledger()"),
            Self::DigestAt(seq) => write!(f, "digest_at({seq})"),
            Self::Feed(after) => write!(f, "read_feed(after {after})"),
            Self::Extend { m, previous, events } => {
                write!(f, "extend(m {m}, at {}, {} events)", previous.seq, events.0.len())
            }
            Self::Fence { from, to } => write!(f, "fence({from} -> {to})"),
            Self::Activate(Activation { epoch, base, .. }) => {
                write!(f, "activate(@{epoch}, base {base})")
            }
            Self::Adopt { m, head } => write!(f, "adopt(m {m}, at {})", head.seq),
            Self::Drop(m) => write!(f, "drop(m {m})"),
            Self::Purge(k) => write!(f, "purge({k})"),
            Self::CutBack { k, to } => write!(f, "cut_back({k}, to {})", to.seq),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} [", self.ledger.role, self.ledger.epoch)?;
        for event in &self.events.0 {
            let write = (0..=PROBE).find(|write| event_id(*write) == event.id).unwrap_or(PROBE);
            write!(f, "{write}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "A {}, B {}", self.stores[0], self.stores[1])?;
        let Some(route) = &self.control.route else { return Ok(()) };
        write!(f, ", route {}@{} rev {}", Site::of(&route.store), route.epoch, route.rev)?;
        route.phase().map_or(Ok(()), |phase| write!(f, " {phase}"))
    }
}
