//! Delivers the log entries of one migration to hooks.
//!
//! A memo of the migration stores each hook's position in the log, so that another process continues after a
//! crash: it repeats deliveries that were not recorded yet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Migration;
use rehome_domain::text;
use rehome_ports::{ControlError, Lease, LeaseRequest, LogEntry, Memo, Migrations};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::{Hooks, Occasion, On, happened};
use crate::Engine;
use crate::config::Backoff;
use crate::telemetry::names::message;

/// Entries of a log that are read at once.
const PAGE: usize = 1_000;
/// How long a driver retries after its work.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// The positions of hooks in a migration's log, as in its memo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// All entries so far are delivered, and no automatic step will follow.
    pub over: bool,
    /// By the hook's name: the last entry of the log that it is done with, and why it is not further; empty:
    /// nothing holds it up.
    pub hooks: BTreeMap<String, (u64, String)>,
}

impl Deliveries {
    /// The name of the memo.
    pub const MEMO: &str = "hooks";

    /// What holds deliveries up, in one line.
    pub fn failing(&self) -> Option<String> {
        let failing = self.hooks.iter().filter(|(_, (_, why))| !why.is_empty());
        let failing: Vec<_> = failing
            .map(|(name, (_, why))| format!("hook {name} is not notified yet: {why}"))
            .collect();
        (!failing.is_empty()).then(|| failing.join("; "))
    }

    /// Parses the memo: `over` or `due`, and a line `ENTRY NAME WHY` for each hook.
    pub fn of_memo(memo: &Memo) -> Option<Self> {
        let mut lines = memo.text.lines();
        let over = match lines.next()? {
            "over" => true,
            "due" => false,
            _ => return None,
        };
        let hook = |line: &str| {
            let (entry, rest) = line.split_once(' ')?;
            let (name, why) = rest.split_once(' ').unwrap_or((rest, ""));
            Some((name.to_owned(), (entry.parse().ok()?, why.to_owned())))
        };
        Some(Self { over, hooks: lines.filter_map(hook).collect() })
    }

    /// Whether every hook has acknowledged all that the log has for hooks.
    fn is_level(&self, log: &[LogEntry]) -> bool {
        let is_left = |(at, entry): (usize, &LogEntry)| {
            self.hooks.values().any(|(done, _)| entry.index > *done)
                && happened(&log[..at], entry).is_some()
        };
        !log.iter().enumerate().any(is_left)
    }

    fn write(&self) -> String {
        let mut text = if self.over { "over" } else { "due" }.to_owned();
        for (name, (entry, why)) in &self.hooks {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{entry} {name} {}", text::one_line(why));
        }
        text
    }
}

/// Delivers what happens to one migration.
pub(crate) struct Courier {
    engine: Engine,
    hooks: Arc<dyn Hooks>,
    id: MigrationId,
    /// Who works on it.
    holder: Arc<str>,
    known: Mutex<Option<Known>>,
}

/// How far hooks have come, and whether the control plane has that.
#[derive(Clone)]
struct Known {
    now: Deliveries,
    is_stored: bool,
}

/// A migration with its log, and whether it is a return.
struct Story {
    migration: Migration,
    log: Vec<LogEntry>,
    returns: bool,
}

impl Courier {
    /// Whether the deployment has hooks for what has happened.
    pub(crate) fn is_needed(engine: &Engine) -> bool {
        engine.hooks.as_ref().is_some_and(|hooks| !hooks.listeners().is_empty())
    }

    /// Of this migration, where the deployment has hooks for what has happened.
    pub(crate) fn of(engine: &Engine, id: MigrationId, holder: &Arc<str>) -> Option<Self> {
        let hooks = engine.hooks.clone().filter(|hooks| !hooks.listeners().is_empty())?;
        let (engine, holder) = (engine.clone(), Arc::clone(holder));
        Some(Self { engine, hooks, id, holder, known: Mutex::default() })
    }

    /// Notes that hooks follow this migration, before anything is done to it.
    pub(crate) async fn open(&self) -> Result<(), ControlError> {
        let mut known = self.known.lock().await;
        self.load(&mut known).await.map(drop)
    }

    /// Delivers what happens, whenever the row has changed; what cannot be delivered is tried again.
    pub(crate) async fn follow(
        &self,
        seen: &watch::Receiver<Migration>,
    ) -> std::convert::Infallible {
        let mut seen = seen.clone();
        let mut backoff = Backoff::new(&self.engine.config);
        let mut failed = None;
        loop {
            let row = seen.borrow_and_update().clone();
            let delivered = self.deliver().await;
            let wait = match &delivered {
                Ok(true) => {
                    backoff = Backoff::new(&self.engine.config);
                    None
                }
                Ok(false) | Err(_) => Some(backoff.next()),
            };
            // Once for each reason: it is retried again and again.
            let error = delivered.err().map(|error| error.to_string());
            if let Some(error) = error.as_ref().filter(|_| failed != error) {
                tracing::warn!(migration_id = %self.id, error = %text::one_line(error), "cannot record what hooks acknowledged");
            }
            failed = error;
            // The driver shows its row at each look, changed or not.
            let changed = async {
                loop {
                    if seen.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    if *seen.borrow_and_update() != row {
                        break;
                    }
                }
            };
            match wait {
                None => changed.await,
                Some(wait) => drop(tokio::time::timeout(wait, changed).await),
            }
        }
    }

    /// Delivers the outstanding notifications after the end of the work; another process delivers those that fail now.
    pub(crate) async fn finish(&self) {
        let delivers = async {
            let mut backoff = Backoff::new(&self.engine.config);
            while !matches!(self.deliver().await, Ok(true)) {
                tokio::time::sleep(backoff.next()).await;
            }
        };
        let _ = tokio::time::timeout(FINISH_WITHIN, delivers).await;
    }

    /// Delivers all that has happened and is not delivered; whether that is all of it now.
    pub(crate) async fn deliver(&self) -> Result<bool, ControlError> {
        let mut known = self.known.lock().await;
        let Known { now: before, is_stored } = self.load(&mut known).await?;
        let story = self.story().await?;
        let last = story.log.last().map_or(0, |entry| entry.index);
        let listeners = self.hooks.listeners();
        let is_level = |name: &String| before.hooks.get(name).is_some_and(|(at, _)| *at >= last);
        if before.over && listeners.iter().all(is_level) {
            return Ok(true);
        }
        if let Some(id) = self.deliver_before(&story.migration).await? {
            let mut now = before.clone();
            for (_, why) in now.hooks.values_mut() {
                *why = format!(
                    "it first hears of migration {id}, of which it has not acknowledged all"
                );
            }
            self.keep(&mut known, now, &before, is_stored).await?;
            return Ok(false);
        }
        let story = Arc::new(story);
        let mut work = JoinSet::new();
        let mut now = Deliveries::default();
        for name in listeners {
            // A hook that was added later receives the steps from then on.
            let (after, why) = before.hooks.get(&name).cloned().unwrap_or((last, String::new()));
            // A delivery that panics leaves the hook where it is.
            now.hooks.insert(name.clone(), (after, why));
            let (hooks, story) = (Arc::clone(&self.hooks), Arc::clone(&story));
            work.spawn(async move {
                let (at, why) = deliver_to(&*hooks, &name, &story, after).await;
                (name, (at, why))
            });
        }
        while let Some(done) = work.join_next().await {
            let Ok((name, (at, why))) = done else { continue };
            // Once for each reason: it is tried again and again.
            let same = before.hooks.get(&name).is_some_and(|(_, known)| *known == why);
            if !why.is_empty() && !same {
                tracing::warn!(
                    target: "eventsource.migration",
                    migration_id = %self.id,
                    tenant_id = %story.migration.tenant,
                    phase = story.migration.state.phase().as_str(),
                    operation = "notify",
                    hook = name.as_str(),
                    error = %text::one_line(&why),
                    "{}",
                    message::HOOK_NOT_NOTIFIED
                );
            }
            now.hooks.insert(name, (at, why));
        }
        crate::failpoint::hit("hooks.delivered");
        let level = now.hooks.values().all(|(at, _)| *at >= last);
        now.over = level && !story.migration.is_at_work();
        self.keep(&mut known, now, &before, is_stored).await?;
        Ok(level)
    }

    /// What was acknowledged counts at once; that it is not recorded is retried without delivering again.
    async fn keep(
        &self,
        known: &mut Option<Known>,
        now: Deliveries,
        before: &Deliveries,
        is_stored: bool,
    ) -> Result<(), ControlError> {
        if is_stored && now == *before {
            return Ok(());
        }
        *known = Some(Known { now: now.clone(), is_stored: false });
        self.put(&now).await?;
        *known = Some(Known { now, is_stored: true });
        Ok(())
    }

    /// The outstanding notifications of the tenant's last migration come first: hooks receive migrations in sequence.
    /// The driver of that one delivers it; without a driver this process does. The migration that has to come first, if
    /// its notifications are outstanding.
    async fn deliver_before(
        &self,
        migration: &Migration,
    ) -> Result<Option<MigrationId>, ControlError> {
        let which = Migrations {
            tenant: Some(migration.tenant),
            before: Some(self.id),
            phase: None,
            limit: 1,
        };
        let Some(last) = self.engine.control.migrations(which).await?.pop() else {
            return Ok(None);
        };
        let memo = self.engine.control.memo(last.id, Deliveries::MEMO).await?;
        let left = match memo.as_ref().and_then(Deliveries::of_memo) {
            Some(left) if !left.over => left,
            _ => return Ok(None),
        };
        // One that is not over may have nothing to say: its clean-up or its window may last for days.
        if left.is_level(&self.log(last.id).await?) {
            return Ok(None);
        }
        // Not the name under which this process works on it, if it does.
        let holder: Arc<str> = format!("hooks:{}", self.holder).into();
        let Some(courier) = Self::of(&self.engine, last.id, &holder) else { return Ok(None) };
        let ttl_ms = u64::try_from(self.engine.config.lease_ttl.as_millis()).unwrap_or(u64::MAX);
        let request = LeaseRequest { migration: last.id, holder: holder.to_string(), ttl_ms };
        let Lease::Held { .. } = self.engine.control.lease(&request).await? else {
            return Ok(Some(last.id));
        };
        let delivered = Box::pin(courier.deliver()).await;
        self.engine.control.release(last.id, &holder).await?;
        Ok((!delivered?).then_some(last.id))
    }

    async fn load(&self, known: &mut Option<Known>) -> Result<Known, ControlError> {
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let memo = self.engine.control.memo(self.id, Deliveries::MEMO).await?;
        let found = if let Some(found) = memo.as_ref().and_then(Deliveries::of_memo) {
            found
        } else {
            let all = self.hooks.listeners().into_iter().map(|name| (name, Default::default()));
            let new = Deliveries { over: false, hooks: all.collect() };
            self.put(&new).await?;
            new
        };
        let found = Known { now: found, is_stored: true };
        *known = Some(found.clone());
        Ok(found)
    }

    async fn put(&self, deliveries: &Deliveries) -> Result<(), ControlError> {
        let memo = Memo { at: self.engine.clock.now(), text: deliveries.write() };
        self.engine.control.set_memo(self.id, Deliveries::MEMO, &memo).await
    }

    async fn log(&self, id: MigrationId) -> Result<Vec<LogEntry>, ControlError> {
        let mut log: Vec<LogEntry> = Vec::new();
        loop {
            let after = log.last().map_or(0, |entry| entry.index);
            let page = self.engine.control.log(id, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            log.extend(page);
            if is_last {
                return Ok(log);
            }
        }
    }

    async fn story(&self) -> Result<Story, ControlError> {
        let control = &self.engine.control;
        // Before the log: of a row that has ended, the log has every entry.
        let migration = control.migration(self.id).await?;
        let log = self.log(self.id).await?;
        let which = Migrations {
            tenant: Some(migration.tenant),
            before: Some(self.id),
            phase: None,
            limit: 1,
        };
        let last = control.migrations(which).await?.pop();
        let returns = last
            .is_some_and(|last| last.source == migration.target && last.target == migration.source);
        Ok(Story { migration, log, returns })
    }
}

/// Delivers to one hook what it is for; answers how far it came, and why not further.
async fn deliver_to(hooks: &dyn Hooks, name: &str, story: &Story, after: u64) -> (u64, String) {
    let mut done = after;
    for (at, entry) in story.log.iter().enumerate().filter(|(_, entry)| entry.index > after) {
        for occasion in story.occasions(at) {
            if hooks.hears(name, occasion.on)
                && let Err(why) = hooks.notify(name, &occasion).await
            {
                return (done, if why.is_empty() { "it failed".to_owned() } else { why });
            }
        }
        done = entry.index;
    }
    (done, String::new())
}

impl Story {
    /// What the entry is to hooks.
    fn occasions(&self, at: usize) -> Vec<Occasion> {
        let entry = &self.log[at];
        let Some((on, epoch, why)) = happened(&self.log[..at], entry) else { return Vec::new() };
        let migration = &self.migration;
        let of = |on| Occasion {
            on,
            tenant: migration.tenant,
            from: migration.source.clone(),
            to: migration.target.clone(),
            migration: migration.id,
            epoch: epoch.unwrap_or(migration.m),
            entry: entry.index,
            at: entry.at,
            actor: entry.actor.clone(),
            why: why.clone(),
        };
        let mut occasions = vec![of(on)];
        if on == On::AfterSwitch && self.returns {
            occasions.push(of(On::Returned));
        }
        occasions
    }
}

#[cfg(test)]
mod tests {
    use rehome_domain::event::Timestamp;

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let hooks = [("chat", (9, "503, see\nthere")), ("dns", (12, ""))];
        let hooks = hooks.map(|(name, (at, why))| (name.to_owned(), (at, why.to_owned())));
        let due = Deliveries { over: false, hooks: hooks.into() };
        let memo = |text| Memo { at: Timestamp::from_micros(0), text };
        let read = Deliveries::of_memo(&memo(due.write())).unwrap();
        assert_eq!(read.hooks["dns"], due.hooks["dns"]);
        let (at, why) = &read.hooks["chat"];
        assert_eq!((*at, why.lines().count()), (9, 1));
        assert!(read.failing().unwrap().contains("hook chat is not notified yet: 503"));
        let over = Deliveries { over: true, ..Deliveries::default() };
        assert_eq!(Deliveries::of_memo(&memo(over.write())), Some(over));
        for text in ["", "12 chat", "later"] {
            assert_eq!(Deliveries::of_memo(&memo(text.to_owned())), None, "{text}");
        }
    }
}
