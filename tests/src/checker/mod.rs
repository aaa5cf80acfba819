//! A checker that reads the database files itself.
//!
//! ```text
//!  the writers' records ──┐
//!                         ├──▶ check ──▶ violations, each with its name and where it is
//!  control.db, stores ────┘ by SQL over the tables
//! ```
//!
//! It knows the writers' records (what they sent, and which responses they got) and the contents of the
//! databases. It shares no code with what it checks: it reads rows with its own SQL,
//! computes the chain with its own code from the definition of the canonical event, and takes the
//! authoritative store from the route's row. It may not use another crate of ours.
//!
//! What it checks:
//! * every acknowledged event is in the authoritative store, once, at the position in the response;
//! * an event without a response is stored once or not at all, and an append is stored whole or not at all;
//! * no event is stored that was not sent, or that was refused;
//! * positions are 1..n, versions of every stream are 1..n, an event that was acknowledged before another was
//!   sent precedes it;
//! * the chain computed from the rows is the one in the rows and the ledger;
//! * every other store holds a prefix of the authority's history, or nothing;
//! * one ledger is active, the one that the route names, under the route's epoch;
//! * the migrations' logs are whole;
//! * a subscriber received every event once and in order, and may receive the events after its checkpoint again only
//!   after a restart of its process;
//! * no reader saw less than it had seen before, or than was acknowledged to any writer before its read.

mod control;
mod history;
mod place;
mod postgres;
mod record;
mod sqlite;
mod violation;
mod watched;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

pub use control::{Migration, Route};
pub use place::{Place, Places};
pub use record::{Known, hex, parse_hex};
pub use violation::Violation;

use history::{History, Row};

/// A tenant or an event: the 16 bytes of its UUID.
pub type Id = [u8; 16];

/// When the check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Others may be writing, and a killed process may have no successor yet: no ledger need be active.
    Between,
    /// Nothing writes, and everything has finished.
    End,
}

/// The result.
#[derive(Debug)]
pub struct Report {
    /// The store that has the authority.
    pub authority: String,
    /// Events in it.
    pub events: u64,
    /// Events of the records that were acknowledged.
    pub acked: u64,
    /// What must not be.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Nothing was found, or an error that names all that was.
    pub fn clean(self) -> Result<Self> {
        if self.violations.is_empty() {
            return Ok(self);
        }
        let all = self.violations.iter().map(|violation| format!("\n  {violation}"));
        anyhow::bail!(
            "{} violations in store {}:{}",
            self.violations.len(),
            self.authority,
            all.take(20).collect::<String>()
        )
    }
}

/// Tries to see the same route before and after the stores were read.
const TRIES: usize = 50;

/// Checks one tenant. `known` reads the records again on each call: once before the files
/// are read, for the acknowledged events, and once after, for the sent ones.
pub fn check(
    places: &Places,
    tenant: Id,
    moment: Moment,
    known: impl Fn() -> Result<Known>,
) -> Result<Report> {
    for _ in 0..TRIES {
        let before = known()?;
        let route = places.control.route(tenant)?.context("the tenant has no route")?;
        let mut histories = BTreeMap::new();
        // The others first: they may only be behind the authority, never ahead of it.
        let others = places.stores.iter().filter(|(name, _)| **name != route.store);
        for (name, place) in others {
            histories.insert(name.clone(), place.history(tenant)?);
        }
        let place = places.stores.get(&route.store).context("the route names an unknown store")?;
        let authority = place.history(tenant)?;
        if places.control.route(tenant)?.as_ref() != Some(&route) {
            continue;
        }
        let after = known()?;
        let mut found = Vec::new();
        acked(&before, &authority, &mut found);
        sent(&after, &authority, &mut found);
        answered_before_sent(&before, &authority, &mut found);
        for (name, history) in std::iter::once((&route.store, &authority)).chain(&histories) {
            history.check(name, &mut found);
        }
        for (name, history) in &histories {
            prefix(name, history, &authority, &mut found);
        }
        roles(&route, &authority, &histories, moment, &mut found);
        for migration in places.control.migrations(tenant)? {
            let entries = places.control.log(migration.id)?;
            control::check_log(migration.id, &entries, &mut found);
        }
        watched::check(&before, &authority, moment, &mut found);
        return Ok(Report {
            authority: route.store,
            events: authority.rows.len() as u64,
            acked: before.acked(),
            violations: found,
        });
    }
    anyhow::bail!("the route never stood still")
}

/// Every acknowledged event is stored once, at the position in the response.
fn acked(known: &Known, authority: &History, found: &mut Vec<Violation>) {
    for (id, sent) in &known.events {
        let Some(ack) = sent.ack else { continue };
        match authority.rows_of(id) {
            [] => found.push(Violation::Lost { event: *id, seq: ack.seq }),
            [index] => {
                let row = &authority.rows[*index];
                if row.place() != (&sent.stream, ack.version, ack.seq) {
                    found.push(Violation::Elsewhere { event: *id, said: ack.seq, is: row.seq });
                }
            }
            _ => {}
        }
    }
}

/// Whatever is there was sent, once, as it is, and whole.
fn sent(known: &Known, authority: &History, found: &mut Vec<Violation>) {
    for row in &authority.rows {
        let rows = authority.rows_of(&row.id);
        if rows.len() > 1 && authority.rows[rows[0]].seq == row.seq {
            found.push(Violation::Twice { event: row.id, times: rows.len() });
        }
        match known.events.get(&row.id) {
            None => found.push(Violation::NobodySent { event: row.id, seq: row.seq }),
            Some(sent) if sent.refused => {
                found.push(Violation::Refused { event: row.id, seq: row.seq });
            }
            Some(sent) => {
                let content = sent.content.as_ref();
                let altered = sent.stream != row.stream
                    || content.is_some_and(|content| !content.is_of(&row.event_type, row.texts()));
                if altered {
                    found.push(Violation::Altered { event: row.id, seq: row.seq });
                }
            }
        }
    }
    for append in &known.appends {
        let rows: Vec<&Row> = append
            .iter()
            .filter_map(|id| authority.rows_of(id).first().map(|index| &authority.rows[*index]))
            .collect();
        let together = rows
            .windows(2)
            .all(|pair| pair[1].seq == pair[0].seq + 1 && pair[1].version == pair[0].version + 1);
        if !rows.is_empty() && (rows.len() != append.len() || !together) {
            found.push(Violation::NotWhole { event: append[0], seq: rows[0].seq });
        }
    }
}

/// An event that was acknowledged before another append was sent precedes it.
fn answered_before_sent(known: &Known, authority: &History, found: &mut Vec<Violation>) {
    // Ordered by time: an acknowledgement raises the lower bound, a later send must come after it.
    let mut answers: Vec<(i64, u64)> = Vec::new();
    let mut sends: Vec<(i64, Id)> = Vec::new();
    for (id, sent) in &known.events {
        let Some(begun_at) = sent.begun_at else { continue };
        sends.push((begun_at, *id));
        answers.extend(sent.ack.and_then(|ack| Some((ack.at?, ack.seq))));
    }
    answers.sort_unstable();
    sends.sort_unstable();
    let mut answers = answers.into_iter().peekable();
    let mut highest = 0;
    for (begun_at, id) in sends {
        while let Some((_, seq)) = answers.next_if(|(at, _)| *at < begun_at) {
            highest = highest.max(seq);
        }
        let Some(index) = authority.rows_of(&id).first() else { continue };
        let seq = authority.rows[*index].seq;
        if seq < highest {
            found.push(Violation::BeforeItsTime { event: id, seq, answered: highest });
        }
    }
}

/// What another store holds is the beginning of the authority's history.
fn prefix(name: &str, history: &History, authority: &History, found: &mut Vec<Violation>) {
    for (index, row) in history.rows.iter().enumerate() {
        if authority.rows.get(index) != Some(row) {
            found.push(Violation::NotAPrefix { store: name.to_owned(), seq: row.seq });
            return;
        }
    }
}

/// One ledger is active: the one that the route names.
fn roles(
    route: &Route,
    authority: &History,
    others: &BTreeMap<String, History>,
    moment: Moment,
    found: &mut Vec<Violation>,
) {
    let active: Vec<&str> = std::iter::once((&route.store, authority))
        .chain(others)
        .filter(|(_, history)| history.ledger.role == "active")
        .map(|(name, _)| name.as_str())
        .collect();
    // Between the switch and the activation the old source is fenced, never active: it is the
    // fence that makes the switch possible.
    let well = active == [route.store.as_str()] && authority.ledger.epoch == route.epoch;
    if !(well || moment == Moment::Between && active.len() <= 1 && !others_active(others)) {
        found.push(Violation::Authorities {
            route: format!("{} at epoch {}", route.store, route.epoch),
            active: active.join(", "),
            epoch: authority.ledger.epoch,
        });
    }
    if authority.ledger.seq < route.base {
        found.push(Violation::BelowBase { base: route.base, seq: authority.ledger.seq });
    }
    for (name, history) in std::iter::once((&route.store, authority)).chain(others) {
        if history.ledger.epoch > route.n {
            let epoch = history.ledger.epoch;
            found.push(Violation::NeverHandedOut { store: name.clone(), epoch, n: route.n });
        }
        if history.ledger.role == "absent" && !history.rows.is_empty() {
            found.push(Violation::LedgerLies { store: name.clone(), what: "absent with events" });
        }
    }
}

fn others_active(others: &BTreeMap<String, History>) -> bool {
    others.values().any(|history| history.ledger.role == "active")
}
