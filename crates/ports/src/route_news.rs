//! Notifications of changed routes: a process learns within milliseconds what another one recorded.
//!
//! Nothing depends on them. A notification may come late, twice, or not at all; a process that gets one reads the row,
//! and a process that misses one is refused by the store.

use rehome_domain::ids::TenantId;
use tokio::sync::{broadcast, watch};

/// Changes that a listener may be behind before it is informed that it has missed some.
const BACKLOG: usize = 4_096;

/// A notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteNews {
    /// The tenant's route was changed: it has this `rev`, or a later one by now.
    Changed {
        /// The tenant.
        tenant: TenantId,
        /// The revision that was recorded.
        rev: u64,
    },
    /// No notifications arrive from here on, until [`RouteNews::Listening`].
    Silent,
    /// Notifications arrive from here on. Earlier changes may have been missed.
    Listening,
}

/// The sending end of a control plane's notifications. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RouteTeller {
    news: broadcast::Sender<RouteNews>,
    listening: watch::Sender<bool>,
}

impl RouteTeller {
    /// One that receives every change (`listening`), or not yet.
    pub fn new(listening: bool) -> Self {
        Self { news: broadcast::Sender::new(BACKLOG), listening: watch::Sender::new(listening) }
    }

    /// Notifies all listeners; of changes, only while it receives every one.
    pub fn tell(&self, news: RouteNews) {
        match news {
            RouteNews::Changed { .. } if !*self.listening.borrow() => return,
            RouteNews::Changed { .. } => {}
            RouteNews::Silent => drop(self.listening.send_replace(false)),
            RouteNews::Listening => drop(self.listening.send_replace(true)),
        }
        // There may be no listeners.
        let _ = self.news.send(news);
    }

    /// A listener that receives notifications from here on.
    pub fn listen(&self) -> RouteListener {
        let news = self.news.subscribe();
        // After the subscription: a change in between is notified twice, not missed.
        let first = (*self.listening.borrow()).then_some(RouteNews::Listening);
        RouteListener { news, first }
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct RouteListener {
    news: broadcast::Receiver<RouteNews>,
    first: Option<RouteNews>,
}

impl RouteListener {
    /// The next notification; `None` when there will be no more. The first one
    /// is [`RouteNews::Listening`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<RouteNews> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.news.recv().await {
            Ok(news) => Some(news),
            // The last ones are still there, but which ones are missing is not known.
            Err(broadcast::error::RecvError::Lagged(_)) => Some(RouteNews::Listening),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rehome_domain::ids::TenantId;

    use super::{BACKLOG, RouteNews, RouteTeller};

    fn changed(rev: u64) -> RouteNews {
        let tenant = TenantId::from_slice(&[7; 16]).expect("sixteen bytes");
        RouteNews::Changed { tenant, rev }
    }

    #[tokio::test]
    async fn a_listener_is_told_what_comes_after_it() {
        let teller = RouteTeller::new(true);
        teller.tell(changed(1));
        teller.tell(RouteNews::Silent);
        let mut early = teller.listen();
        teller.tell(changed(1));
        teller.tell(RouteNews::Listening);
        teller.tell(changed(2));
        let mut late = teller.listen();
        teller.tell(RouteNews::Silent);
        assert_eq!(early.next().await, Some(RouteNews::Listening));
        assert_eq!(early.next().await, Some(changed(2)));
        assert_eq!(early.next().await, Some(RouteNews::Silent));
        assert_eq!(late.next().await, Some(RouteNews::Listening));
        assert_eq!(late.next().await, Some(RouteNews::Silent));
        drop(teller);
        assert_eq!((early.next().await, late.next().await), (None, None));
    }

    #[tokio::test]
    async fn a_listener_that_is_too_slow_hears_that_it_missed_something() {
        let teller = RouteTeller::new(true);
        let mut slow = teller.listen();
        assert_eq!(slow.next().await, Some(RouteNews::Listening));
        let last = u64::try_from(BACKLOG).unwrap() + 10;
        for rev in 1..=last {
            teller.tell(changed(rev));
        }
        assert_eq!(slow.next().await, Some(RouteNews::Listening));
        let mut heard = slow.next().await;
        assert!(heard.is_some_and(|first| first != changed(1)));
        for _ in 1..BACKLOG {
            heard = slow.next().await;
        }
        assert_eq!(heard, Some(changed(last)));
    }
}
