//! Slots for connections. A connection that waits for a request, even for its first, may be evicted for a new
//! one; a connection that is being served may not.
//!
//! ```text
//!  accepted ─▶ waiting ◀──────────▶ serving          full, or an address over its share:
//!                 │    head, answer                  of the waiting ones of the address that has
//!                 ▼                                  most, the one that waits longest is closed
//!               closed
//! ```
//!
//! A head takes a round trip to arrive. So connections that send nothing, or a byte now
//! and then, evict one another, and not those with requests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rehome_engine::metrics::RoomCount;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The places of a server.
#[derive(Debug)]
pub(crate) struct Places {
    size: u64,
    /// Most connections of one address that wait.
    share: u64,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    /// Grows with every connection that begins to wait: the least waits longest.
    next: u64,
    waiting: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
    fullest: BTreeSet<(usize, IpAddr)>,
    closed_of_address: u64,
    closed_of_all: u64,
}

impl State {
    fn wait(&mut self, address: IpAddr, closing: CancellationToken) -> u64 {
        let number = self.next;
        self.next += 1;
        let of_address = self.waiting.entry(address).or_default();
        self.fullest.remove(&(of_address.len(), address));
        of_address.insert(number, closing);
        self.fullest.insert((of_address.len(), address));
        number
    }

    /// Whether it was waiting.
    fn end_wait(&mut self, address: IpAddr, number: u64) -> bool {
        let Some(of_address) = self.waiting.get_mut(&address) else { return false };
        self.fullest.remove(&(of_address.len(), address));
        let was_there = of_address.remove(&number).is_some();
        if of_address.is_empty() {
            self.waiting.remove(&address);
        } else {
            self.fullest.insert((of_address.len(), address));
        }
        was_there
    }

    fn waiting_of(&self, address: IpAddr) -> u64 {
        self.waiting.get(&address).map_or(0, |of_address| of_address.len() as u64)
    }

    /// Closes the connection of this address that waits longest.
    fn close_one_of(&mut self, address: IpAddr) -> bool {
        let first = self.waiting.get(&address).and_then(|of_address| of_address.first_key_value());
        let Some((number, closing)) = first.map(|(number, closing)| (*number, closing.clone()))
        else {
            return false;
        };
        closing.cancel();
        self.end_wait(address, number)
    }

    fn close_one(&mut self) -> bool {
        let fullest = self.fullest.last().map(|(_, address)| *address);
        fullest.is_some_and(|address| self.close_one_of(address))
    }
}

impl Places {
    pub(crate) fn new(size: u32, share: Option<u32>) -> Arc<Self> {
        let size = u64::from(size);
        let share = share.map_or((size / 4).max(1), u64::from).min(size);
        Arc::new(Self { size, share, state: Mutex::default(), freed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from this address. Where there is none, one that waits is closed;
    /// where none waits, this one does.
    pub(crate) async fn enter(self: &Arc<Self>, address: IpAddr, has_share: bool) -> Place {
        let mut has_closed = false;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the check, so that no notification is missed in between.
            freed.as_mut().enable();
            {
                let mut state = self.lock();
                if has_share && state.waiting_of(address) >= self.share {
                    state.closed_of_address += u64::from(state.close_one_of(address));
                }
                if state.used < self.size {
                    state.used += 1;
                    let closing = CancellationToken::new();
                    let waits = Some(state.wait(address, closing.clone()));
                    return Place { places: Arc::clone(self), address, closing, waits };
                }
                if !has_closed {
                    has_closed = state.close_one();
                    state.closed_of_all += u64::from(has_closed);
                }
            }
            freed.await;
        }
    }

    /// What a scrape reports.
    pub(crate) fn count(&self) -> RoomCount {
        let state = self.lock();
        RoomCount {
            room: "connections",
            used: state.used,
            size: self.size,
            refused_share: state.closed_of_address,
            refused_all: state.closed_of_all,
        }
    }
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    closing: CancellationToken,
    /// Its number, while it waits.
    waits: Option<u64>,
}

impl Place {
    /// Cancelled when the place was given to another.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// A request has come: the slot is kept from now on, unless it is already lost.
    pub(crate) fn serve(&mut self) -> bool {
        let Some(number) = self.waits.take() else { return true };
        self.places.lock().end_wait(self.address, number)
    }

    /// The answer is given: another may have the place, if there is none left.
    pub(crate) fn wait(&mut self) {
        if self.waits.is_none() {
            let closing = self.closing.clone();
            self.waits = Some(self.places.lock().wait(self.address, closing));
            // A task may be waiting for a connection that can be evicted.
            self.places.freed.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.used -= 1;
        if let Some(number) = self.waits {
            state.end_wait(self.address, number);
        }
        drop(state);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test]
    async fn of_an_address_over_its_share_the_one_that_waits_longest_is_closed() {
        let places = Places::new(8, Some(2));
        let first = places.enter(address(1), true).await;
        let second = places.enter(address(1), true).await;
        let other = places.enter(address(2), true).await;
        let third = places.enter(address(1), true).await;
        assert!(first.closing().is_cancelled());
        assert!([&second, &other, &third].iter().all(|place| !place.closing().is_cancelled()));
        // A proxy has no share.
        let proxied = places.enter(address(1), false).await;
        assert!(!second.closing().is_cancelled() && !proxied.closing().is_cancelled());
    }

    #[tokio::test]
    async fn when_all_are_taken_the_address_with_most_that_wait_loses_one() {
        let places = Places::new(4, Some(4));
        let mut served = places.enter(address(1), true).await;
        assert!(served.serve());
        let waiting = [
            places.enter(address(1), true).await,
            places.enter(address(2), true).await,
            places.enter(address(2), true).await,
        ];
        let [one, two, three] = waiting;
        let two_closed = two.closing();
        let gone = tokio::spawn(async move {
            two_closed.cancelled().await;
            drop(two);
        });
        let next = places.enter(address(3), true).await;
        gone.await.unwrap();
        for place in [&served, &one, &three, &next] {
            assert!(!place.closing().is_cancelled());
        }
        assert_eq!(places.count().used, 4);
    }

    #[tokio::test]
    async fn a_place_that_was_lost_serves_nobody() {
        let places = Places::new(4, Some(1));
        let mut first = places.enter(address(1), true).await;
        let mut second = places.enter(address(1), true).await;
        assert!(!first.serve());
        assert!(second.serve());
        second.wait();
        let third = places.enter(address(1), true).await;
        assert!(second.closing().is_cancelled());
        drop((first, second, third));
        assert_eq!(places.count().used, 0);
        assert!(places.lock().waiting.is_empty() && places.lock().fullest.is_empty());
    }
}
