//! One room: how much there is, who holds how much of it, and when the answer is no.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use rehome_engine::metrics::RoomCount;
use tokio::sync::Notify;

use super::{Holder, Who};
use crate::response::Problem;

/// What a room is of, and how its refusals read.
#[derive(Debug)]
pub(super) struct Kind {
    /// Its name in metrics.
    name: &'static str,
    /// The code of a refusal.
    code: &'static str,
    what: &'static str,
    size_key: &'static str,
    share_key: &'static str,
    retry_after: u16,
}

pub(super) const REQUESTS: Kind = Kind {
    name: "requests",
    code: "too_many_requests",
    what: "requests in flight",
    size_key: "server.connections_max",
    share_key: "server.connections_per_caller_max",
    retry_after: 1,
};
pub(super) const BODIES: Kind = Kind {
    name: "body_bytes",
    code: "too_many_requests",
    what: "bytes of request bodies",
    size_key: "server.bodies_bytes_max",
    share_key: "server.bodies_bytes_per_caller_max",
    retry_after: 1,
};
pub(super) const ANSWERS: Kind = Kind {
    name: "answer_bytes",
    code: "too_many_answers",
    what: "bytes of responses not yet sent",
    size_key: "server.answers_bytes_max",
    share_key: "server.answers_bytes_per_caller_max",
    retry_after: 1,
};
pub(super) const FOLLOWERS: Kind = Kind {
    name: "followers",
    code: "too_many_followers",
    what: "followers",
    size_key: "server.followers_max",
    share_key: "server.followers_per_caller_max",
    retry_after: 5,
};

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// The caller's share is used up.
    Share,
    /// There is not enough left, or not enough for one who holds as much as this one.
    All,
}

/// The shared state.
#[derive(Debug)]
pub(crate) struct Room {
    kind: Kind,
    size: u64,
    share: u64,
    reserve: u64,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    by: HashMap<Who, u64>,
    refused_share: u64,
    refused_all: u64,
}

impl Room {
    pub(super) fn new(kind: Kind, size: u64, share: u64, reserve: u64) -> Arc<Self> {
        let (state, freed) = (Mutex::default(), Notify::new());
        Arc::new(Self { kind, size, share, reserve, state, freed })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a holder who has `own` of `used` may have `more`.
    fn admits(&self, used: u64, own: u64, more: u64, is_operator: bool) -> Result<(), Full> {
        let size = if is_operator { self.size } else { self.size - self.reserve };
        let left = size.saturating_sub(used);
        if own + more > self.share {
            Err(Full::Share)
        } else if more > left || used > own && own + more > left {
            Err(Full::All)
        } else {
            Ok(())
        }
    }

    fn try_take(&self, holder: &Holder, more: u64) -> Result<(), Full> {
        let mut state = self.lock();
        let own = state.by.get(&holder.who).copied().unwrap_or(0);
        self.admits(state.used, own, more, holder.is_operator)?;
        state.used += more;
        *state.by.entry(holder.who.clone()).or_default() += more;
        Ok(())
    }

    fn give_back(&self, who: &Who, amount: u64) {
        if amount == 0 {
            return;
        }
        let mut state = self.lock();
        state.used = state.used.saturating_sub(amount);
        if let Some(own) = state.by.get_mut(who) {
            *own = own.saturating_sub(amount);
            if *own == 0 {
                state.by.remove(who);
            }
        }
        drop(state);
        self.freed.notify_waiters();
    }

    fn refuse(&self, full: Full) -> Problem {
        let mut state = self.lock();
        let Kind { code, what, size_key, share_key, retry_after, .. } = self.kind;
        let (detail, limit) = match full {
            Full::Share => {
                state.refused_share += 1;
                let share = self.share;
                (
                    format!(
                        "the caller has used its share of {share} {what} ({share_key}); try again"
                    ),
                    share,
                )
            }
            Full::All => {
                state.refused_all += 1;
                let size = self.size;
                (format!("most of the {size} {what} are in use ({size_key}); try again"), size)
            }
        };
        Problem::retry(StatusCode::TOO_MANY_REQUESTS, code, detail, retry_after).limit(limit)
    }

    /// Reserves this amount, or refuses.
    pub(crate) fn take(self: &Arc<Self>, holder: &Holder, amount: u64) -> Result<Held, Problem> {
        self.try_take(holder, amount).map_err(|full| self.refuse(full))?;
        Ok(Held { room: Arc::clone(self), holder: holder.clone(), amount })
    }

    /// Reserves this amount once it is free, or refuses after the timeout.
    pub(crate) async fn take_within(
        self: &Arc<Self>,
        holder: &Holder,
        amount: u64,
        within: Duration,
    ) -> Result<Held, Problem> {
        let taken = async {
            loop {
                let freed = self.freed.notified();
                tokio::pin!(freed);
                // Registered before the check, so that no notification is missed in between.
                freed.as_mut().enable();
                if self.try_take(holder, amount).is_ok() {
                    return;
                }
                freed.await;
            }
        };
        if tokio::time::timeout(within, taken).await.is_err() {
            self.try_take(holder, amount).map_err(|full| self.refuse(full))?;
        }
        Ok(Held { room: Arc::clone(self), holder: holder.clone(), amount })
    }

    /// What a scrape reports.
    pub(super) fn count(&self) -> RoomCount {
        let state = self.lock();
        RoomCount {
            room: self.kind.name,
            used: state.used,
            size: self.size,
            refused_share: state.refused_share,
            refused_all: state.refused_all,
        }
    }
}

/// A part of a room, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Room>,
    holder: Holder,
    amount: u64,
}

impl Held {
    /// Holds `amount` from now on, or refuses and holds what it held.
    pub(crate) fn resize(&mut self, amount: u64) -> Result<(), Problem> {
        if amount > self.amount {
            let more = amount - self.amount;
            self.room.try_take(&self.holder, more).map_err(|full| self.room.refuse(full))?;
        } else {
            self.room.give_back(&self.holder.who, self.amount - amount);
        }
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.give_back(&self.holder.who, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(size: u64, share: u64, reserve: u64) -> Arc<Room> {
        Room::new(FOLLOWERS, size, share, reserve)
    }

    fn token(name: &str) -> Holder {
        Holder { who: Who::Token(name.into()), is_operator: false }
    }

    /// Reserves one by one until the room refuses.
    fn fill(room: &Arc<Room>, holder: &Holder) -> Vec<Held> {
        std::iter::from_fn(|| room.take(holder, 1).ok()).collect()
    }

    #[test]
    fn one_caller_gets_its_share_and_no_more() {
        let room = room(100, 25, 0);
        let held = fill(&room, &token("a"));
        assert_eq!(held.len(), 25);
        assert!(room.take(&token("b"), 1).is_ok());
        drop(held);
        assert_eq!(fill(&room, &token("a")).len(), 25);
        assert_eq!(room.count().used, 0);
        assert!(room.lock().by.is_empty());
    }

    #[test]
    fn after_ten_who_are_greedy_the_next_one_finds_something() {
        let room = room(1_000, 250, 0);
        let mut held = Vec::new();
        for n in 0..11 {
            let more = fill(&room, &token(&format!("greedy-{n}")));
            assert!(!more.is_empty(), "{n} found nothing");
            held.extend(more);
        }
    }

    #[test]
    fn operators_find_room_when_others_have_taken_all() {
        let room = room(64, 64, 4);
        let held: Vec<_> = (0..60).map(|n| room.take(&token(&format!("{n}")), 1)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert!(room.take(&token("next"), 1).is_err());
        let operator = Holder { is_operator: true, ..token("ops") };
        assert!(room.take(&operator, 1).is_ok());
    }

    #[test]
    fn what_grows_is_counted_and_what_shrinks_is_given_back() {
        let room = room(100, 50, 0);
        let mut held = room.take(&token("a"), 1).unwrap();
        held.resize(50).unwrap();
        assert!(held.resize(51).is_err());
        assert_eq!(room.count().used, 50);
        held.resize(10).unwrap();
        assert_eq!(room.count().used, 10);
        assert_eq!((room.count().refused_share, room.count().refused_all), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_gets_what_is_given_back() {
        let room = room(10, 10, 0);
        let held = room.take(&token("a"), 10).unwrap();
        let within = Duration::from_secs(1);
        assert!(room.take_within(&token("b"), 1, within).await.is_err());
        let holder = token("b");
        let waiting = room.take_within(&holder, 1, within);
        let giving = async move { drop(held) };
        let (taken, ()) = tokio::join!(waiting, giving);
        assert!(taken.is_ok());
    }
}
