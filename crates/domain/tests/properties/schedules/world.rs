//! A tenant, its stores, its control plane, and all who act on them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rehome_domain::digest::Digest;
use rehome_domain::ids::{Epoch, StoreId};
use rehome_domain::ledger::{Head, Refusal, Role, follow_chain};
use rehome_domain::migration::{Cleanup, Fact, Migration, OldSource, Options, State, apply};
use rehome_domain::route::Route;

use super::message::{Message, Reply, Store};
use crate::kit::{NOW, PAUSE, ROLL_BACK, started, store_id, tenant, with_window};

const STORES: [&str; 3] = ["one", "two", "three"];

/// An obligation that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mistake {
    None,
    /// Step 6 under whatever revision the route has now.
    SwitchOnRereadRevision,
    /// Step 6 after a comparison with a source that still accepts appends.
    SwitchWithoutFence,
    /// A purge forgets the epoch.
    PurgeWithoutTombstone,
    /// Step 2 without step 1.
    NoStepOne,
}

/// The rows of the control plane at one moment.
#[derive(Clone, Debug)]
struct Rows {
    route: Route,
    migration: Option<Migration>,
}

#[derive(Clone, Debug)]
struct Envelope {
    to: usize,
    message: Message,
}

/// The stores' responses that processes may act on.
#[derive(Debug, Default)]
struct Heard {
    activated: BTreeSet<Epoch>,
    adopted: BTreeSet<Epoch>,
    dropped: BTreeSet<Epoch>,
    purged: BTreeSet<Epoch>,
    /// The final head, by the revision that the fence ran under.
    fenced: HashMap<u64, Head>,
    /// The head that source and target had, by the revision of the fence.
    compared: BTreeMap<u64, u64>,
}

pub(crate) struct World {
    mistake: Mistake,
    stores: [Store; 3],
    /// Every version of the control plane's rows; the last one is now.
    rows: Vec<Rows>,
    under_way: Vec<Envelope>,
    heard: Heard,
    /// Where and with which digest each acknowledged event was.
    acknowledged: BTreeMap<u64, (u64, Digest)>,
    /// The event that each of two writers is trying to append.
    writing: [u64; 2],
    been_at: BTreeSet<StoreId>,
    touched: Option<usize>,
    /// A retry that was answered otherwise than the first time.
    appended_again: Option<u64>,
    highest: [Epoch; 3],
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

fn is_clean(state: State) -> bool {
    match state {
        State::RolledBack(cleanup) => cleanup == Cleanup::Done,
        State::Migrated { old_source, .. } => old_source == OldSource::Purged,
        _ => true,
    }
}

fn index(store: &StoreId) -> usize {
    STORES.iter().position(|name| *name == store.as_str()).unwrap()
}

impl World {
    pub(crate) fn new(mistake: Mistake) -> Self {
        let route = Route::create(tenant(), store_id(STORES[0]));
        let leaves_no_tombstone = mistake == Mistake::PurgeWithoutTombstone;
        Self {
            mistake,
            stores: [0; 3].map(|_| Store { leaves_no_tombstone, ..Store::new() }),
            rows: vec![Rows { route, migration: None }],
            under_way: Vec::new(),
            heard: Heard::default(),
            acknowledged: BTreeMap::new(),
            writing: [1, 1_000_001],
            been_at: BTreeSet::from([store_id(STORES[0])]),
            touched: None,
            appended_again: None,
            highest: [Epoch::ZERO; 3],
            seen: BTreeMap::new(),
        }
    }

    fn now(&self) -> &Rows {
        self.rows.last().unwrap()
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// One thing happens; `None` when the dice have run out.
    pub(crate) fn step(&mut self, dice: &mut impl Iterator<Item = usize>) -> Option<()> {
        let (kind, which) = (dice.next()?, dice.next()?);
        self.touched = None;
        match kind % 10 {
            0..4 if !self.under_way.is_empty() => {
                // Half of the time the newest, else any one, however old.
                let newest = self.under_way.len() - 1;
                let at = if which % 2 == 0 { newest } else { which / 2 % (newest + 1) };
                self.deliver(at, kind / 10);
            }
            0..7 => self.send(self.rows.len() - 1, which),
            7 => self.send(which / 16 % self.rows.len(), which),
            _ => self.decide(which),
        }
        Some(())
    }

    /// Sends what a process that read these rows might send.
    fn send(&mut self, rows: usize, which: usize) {
        let candidates = self.candidates(&self.rows[rows]);
        if let Some(envelope) = candidates.get(which % candidates.len().max(1)) {
            self.under_way.push(envelope.clone());
        }
    }

    fn candidates(&self, rows: &Rows) -> Vec<Envelope> {
        let route = &rows.route;
        let routed = index(&route.store);
        let mut all = Vec::new();
        let mut add = |to: usize, message| all.push(Envelope { to, message });
        if route.created && !route.is_cutover_paused() {
            for event in self.writing {
                add(routed, Message::Append { epoch: route.epoch, event });
            }
        }
        if let Some(activation) = route.activation() {
            add(routed, Message::Activate(activation));
        }
        let Some(migration) = &rows.migration else { return all };
        let (source, target) = (index(&migration.source), index(&migration.target));
        match migration.state {
            State::Pending | State::Working(_) | State::CutoverPaused | State::Paused(_) => {
                self.follow(migration.m, routed, target).into_iter().for_each(|m| add(target, m));
            }
            State::Migrated { old_source, .. } => match old_source {
                OldSource::Window { m } => {
                    self.follow(m, routed, source).into_iter().for_each(|m| add(source, m));
                }
                OldSource::Closing { m } => add(source, Message::Drop { m }),
                OldSource::Fenced { at } => add(source, Message::Purge { k: at }),
                OldSource::Purged => {}
            },
            State::RolledBack(Cleanup::Drop { .. }) => {
                // A target that was never adopted is retired too.
                self.follow(migration.m, routed, target)
                    .into_iter()
                    .take(1)
                    .for_each(|m| add(target, m));
                add(target, Message::Drop { m: migration.m });
            }
            State::RolledBack(Cleanup::Purge) => add(target, Message::Purge { k: migration.m }),
            State::RolledBack(Cleanup::Done) | State::Failed { .. } => {}
        }
        if route.is_cutover_paused() {
            let (from, to) = (route.prev_epoch, route.epoch);
            let fence = Message::Fence { rev: route.rev, from, to };
            // Twice as likely as the rest.
            add(source, fence.clone());
            add(source, fence);
        }
        all
    }

    /// To adopt `replica`, its head proven to be a prefix of the source as it is read now; and to
    /// extend it by what the source has more.
    fn follow(&self, m: Epoch, source: usize, replica: usize) -> Vec<Message> {
        let (source, replica) = (&self.stores[source], &self.stores[replica]);
        let head = replica.ledger.head;
        let mut all = Vec::new();
        if source.holds(head) {
            all.push(Message::Adopt { m, head });
            let from = usize::try_from(head.seq).unwrap();
            for most in [2, usize::MAX] {
                let to = source.events.len().min(from.saturating_add(most));
                let events = source.events[from..to].to_vec();
                all.push(Message::Extend { m, previous: head, events });
            }
        }
        all
    }

    /// A message arrives, once or once more, or never; its reply arrives, or does not.
    fn deliver(&mut self, at: usize, fate: usize) {
        let envelope = self.under_way[at].clone();
        if !fate.is_multiple_of(4) {
            self.under_way.swap_remove(at);
        }
        if fate % 16 == 1 {
            return;
        }
        self.touched = Some(envelope.to);
        match self.stores[envelope.to].take(&envelope.message) {
            Ok(reply) if fate % 8 != 2 => self.hear(&envelope, &reply),
            Ok(_) => self.saw("reply lost"),
            Err(refused) => self.saw(match refused.why {
                Refusal::StaleEpoch => "refused: stale epoch",
                Refusal::Fenced => "refused: fenced",
                Refusal::NotAtHead => "refused: not at this head",
                Refusal::HistoryMissing => "refused: history missing",
                Refusal::WrongRole => "refused: wrong role",
                Refusal::BehindBase => "refused: behind base",
                Refusal::BrokenChain => "refused: broken chain",
            }),
        }
    }

    fn hear(&mut self, envelope: &Envelope, reply: &Reply) {
        match (&envelope.message, reply) {
            (Message::Append { event, .. }, Reply::Appended(appended)) => {
                let place = usize::try_from(appended.first_seq).unwrap() - 1;
                let digest = self.stores[envelope.to].events[place].digest;
                let answer = (appended.first_seq, digest);
                let first = *self.acknowledged.entry(*event).or_insert(answer);
                if first != answer {
                    self.appended_again = Some(*event);
                }
                for writing in &mut self.writing {
                    if *writing == *event {
                        *writing += 1;
                        *self.seen.entry("acknowledged").or_default() += 1;
                        return;
                    }
                }
                self.saw("acknowledged again");
            }
            (Message::Fence { rev, .. }, Reply::Ledger(ledger)) => {
                self.heard.fenced.insert(*rev, ledger.head);
            }
            (Message::Activate(route), _) => {
                self.heard.activated.insert(route.epoch);
            }
            (Message::Adopt { m, .. }, _) => {
                self.heard.adopted.insert(*m);
            }
            (Message::Drop { m }, _) => {
                self.heard.dropped.insert(*m);
            }
            (Message::Purge { k }, Reply::Ledger(ledger)) if ledger.role == Role::Absent => {
                self.heard.purged.insert(*k);
                self.saw("purged to a tombstone");
            }
            _ => {}
        }
    }

    /// A process with enough responses changes the route, or compares before it does.
    fn decide(&mut self, which: usize) {
        let route = &self.now().route;
        if !route.created && self.heard.activated.contains(&route.epoch) {
            let mut rows = self.now().clone();
            rows.route.created = true;
            self.rows.push(rows);
            return;
        }
        self.compare();
        let facts = self.possible(which);
        if let Some(fact) = facts.get(which % facts.len().max(1)) {
            self.record(&fact.clone());
        }
    }

    /// Step 5, under the revision of the fence.
    fn compare(&mut self) {
        let Rows { route, migration } = self.now();
        let Some(migration) = migration.as_ref().filter(|_| route.is_cutover_paused()) else {
            return;
        };
        let source = &self.stores[index(&migration.source)];
        let target = &self.stores[index(&migration.target)].ledger;
        let fenced = match self.mistake {
            Mistake::SwitchWithoutFence => Some(source.ledger.head),
            _ => self.heard.fenced.get(&route.rev).copied(),
        };
        let is_replica = (target.role, target.epoch) == (Role::Replica, migration.m);
        if is_replica && fenced == Some(target.head) {
            let rev = route.rev;
            self.heard.compared.insert(rev, target.head.seq);
        }
    }

    /// The facts that a process that keeps the obligations may record now.
    fn possible(&self, which: usize) -> Vec<Fact> {
        let Rows { route, migration } = self.now();
        let mut facts = Vec::new();
        let mut add = |weight: usize, fact: Fact| facts.extend(std::iter::repeat_n(fact, weight));
        for (i, name) in STORES.into_iter().enumerate() {
            let options = if which / 8 % 2 == i % 2 { with_window() } else { Options::default() };
            // Mostly once the last migration has cleaned up, and at times before.
            if which.is_multiple_of(8) || migration.as_ref().is_none_or(|last| is_clean(last.state))
            {
                add(2, started(route.rev, name, options));
            }
        }
        if let Some(migration) = migration {
            if self.heard.adopted.contains(&migration.m) {
                add(8, Fact::CopyStarted);
            }
            add(4, Fact::CopyCompleted { events: 0 });
            let stepped = self.heard.activated.contains(&route.epoch);
            if stepped || self.mistake == Mistake::NoStepOne {
                add(4, PAUSE);
            }
            let compared = match self.mistake {
                Mistake::SwitchOnRereadRevision => self.heard.compared.values().next_back(),
                _ => self.heard.compared.get(&route.rev),
            };
            if let Some(seq) = compared {
                let digest = self.stores[index(&migration.target)].digest_at(*seq);
                let head = Head { seq: *seq, digest: digest.unwrap_or(Digest::EMPTY) };
                add(24, Fact::Switched { head });
            }
            if which.is_multiple_of(4) {
                add(1, ROLL_BACK);
            }
            if which.is_multiple_of(32) {
                add(1, Fact::Paused);
                add(1, Fact::Failed { error: "x".into() });
                add(2, Fact::Aborted { purge: which.is_multiple_of(64) });
            }
            add(2, Fact::Resumed);
            add(1, Fact::WindowClosed);
            let (dropped, purged) = (&self.heard.dropped, &self.heard.purged);
            match migration.state {
                State::RolledBack(_) if dropped.contains(&migration.m) => {
                    add(4, Fact::ReplicaDropped);
                }
                State::Migrated { old_source: OldSource::Closing { m }, .. }
                    if dropped.contains(&m) =>
                {
                    add(4, Fact::ReplicaDropped);
                }
                _ => {}
            }
            match migration.state {
                State::RolledBack(Cleanup::Purge) if purged.contains(&migration.m) => {
                    add(4, Fact::Purged { events: 0 });
                }
                State::Migrated { old_source: OldSource::Fenced { at }, .. }
                    if purged.contains(&at) =>
                {
                    add(4, Fact::Purged { events: 0 });
                }
                _ => {}
            }
        }
        facts.retain(|fact| self.applied(fact).is_some());
        facts
    }

    fn applied(&self, fact: &Fact) -> Option<Rows> {
        let Rows { route, migration } = self.now();
        let subject = migration.as_ref().filter(|_| !matches!(fact, Fact::Started { .. }));
        let (route, migration) = apply(route, subject, fact, NOW).ok()?;
        Some(Rows { route, migration: Some(migration) })
    }

    fn record(&mut self, fact: &Fact) {
        let rows = self.applied(fact).unwrap();
        if matches!(fact, Fact::Switched { .. }) && !self.been_at.insert(rows.route.store.clone()) {
            self.saw("came back");
        }
        self.rows.push(rows);
        self.saw(fact.name());
    }

    /// What must hold at all times.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let route = &self.rows[self.rows.len() - 1].route;
        let authority = &self.stores[index(&route.store)];
        if let Some(event) = self.appended_again {
            return Err(format!("event {event} was lost, and appended again by its retry"));
        }
        for (event, (seq, digest)) in &self.acknowledged {
            if authority.digest_at(*seq) != Some(*digest) {
                return Err(format!("event {event}, acknowledged at {seq}, is lost"));
            }
        }
        let mut active = BTreeSet::new();
        for (store, highest) in self.stores.iter().zip(&mut self.highest) {
            let ledger = store.ledger;
            if ledger.epoch < *highest {
                return Err(format!("the epoch went back from {highest}: {ledger:?}"));
            }
            *highest = ledger.epoch;
            if ledger.epoch > route.n {
                return Err(format!("{ledger:?} is ahead of the counter {}", route.n));
            }
            if ledger.role == Role::Active && !active.insert(ledger.epoch) {
                return Err(format!("two stores are active at {}", ledger.epoch));
            }
            if ledger.role == Role::Replica && !authority.holds(ledger.head) {
                return Err(format!("a replica is no prefix of the authority: {ledger:?}"));
            }
        }
        if let Some(touched) = self.touched {
            let store = &self.stores[touched];
            let chain = follow_chain(Head::EMPTY, &store.events);
            if chain != Ok(store.ledger.head) {
                return Err(format!("the chain is not the ledger's: {chain:?}"));
            }
        }
        Ok(())
    }

    /// All processes but one are killed, which makes the tenant writable again: by finishing the cutover,
    /// or by rolling it back.
    pub(crate) fn finish(&mut self, forward: bool) -> Result<(), String> {
        self.under_way.clear();
        if self.now().route.is_cutover_paused() {
            if forward {
                self.finish_cutover().map_err(|why| format!("cannot finish: {why}"))?;
                self.saw("finished in a pause");
            } else {
                self.record(&ROLL_BACK);
            }
        }
        let route = self.now().route.clone();
        let activation = route.activation().ok_or("still paused")?;
        let store = &mut self.stores[index(&route.store)];
        store.take(&Message::Activate(activation)).map_err(|no| format!("wedged: {no}"))?;
        let append = Message::Append { epoch: route.epoch, event: 2_000_000 };
        store.take(&append).map_err(|no| format!("not writable: {no}"))?;
        self.check()
    }

    fn finish_cutover(&mut self) -> Result<(), String> {
        let Rows { route, migration } = self.now().clone();
        let migration = migration.ok_or("no migration")?;
        let (source, target) = (index(&migration.source), index(&migration.target));
        let fence = Message::Fence { rev: route.rev, from: route.prev_epoch, to: route.epoch };
        self.stores[source].take(&fence).map_err(|no| format!("fence: {no}"))?;
        let more = self.follow(migration.m, source, target).pop().ok_or("no prefix")?;
        self.stores[target].take(&more).map_err(|no| format!("extend: {no}"))?;
        let head = self.stores[target].ledger.head;
        if head != self.stores[source].ledger.head {
            return Err(format!("not level: {head:?}"));
        }
        self.record(&Fact::Switched { head });
        Ok(())
    }
}
