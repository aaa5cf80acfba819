//! News of changed routes: how a process hears within milliseconds of what another one recorded.
//!
//! Nothing rests on it. News may come late, twice, or not at all; whoever hears it reads the row,
//! and whoever does not finds out from the store that refuses.

use rehome_domain::ids::TenantId;
use tokio::sync::{broadcast, watch};

/// Changes that a listener may be behind before it is told that it has missed some.
const BACKLOG: usize = 4_096;

/// Something that a listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteNews {
    /// The tenant's route was changed: it has this `rev`, or a later one by now.
    Changed {
        /// Whose.
        tenant: TenantId,
        /// The revision that was recorded.
        rev: u64,
    },
    /// Nothing is heard from here on, until [`RouteNews::Listening`].
    Silent,
    /// Changes are told from here on. Those from before may have been missed.
    Listening,
}

/// Where a control plane tells the news. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RouteTeller {
    news: broadcast::Sender<RouteNews>,
    listening: watch::Sender<bool>,
}

impl RouteTeller {
    /// One that hears of every change (`listening`), or not yet.
    pub fn new(listening: bool) -> Self {
        Self { news: broadcast::Sender::new(BACKLOG), listening: watch::Sender::new(listening) }
    }

    /// Tells all listeners; of changes, only while it hears of every one.
    pub fn tell(&self, news: RouteNews) {
        match news {
            RouteNews::Changed { .. } if !*self.listening.borrow() => return,
            RouteNews::Changed { .. } => {}
            RouteNews::Silent => drop(self.listening.send_replace(false)),
            RouteNews::Listening => drop(self.listening.send_replace(true)),
        }
        // Without listeners there is nobody to tell.
        let _ = self.news.send(news);
    }

    /// A listener, who is told from here on.
    pub fn listen(&self) -> RouteListener {
        let news = self.news.subscribe();
        // After the subscription: what changes in between is told twice, not missed.
        let first = (*self.listening.borrow()).then_some(RouteNews::Listening);
        RouteListener { news, first }
    }
}

/// One listener's end of the news.
#[derive(Debug)]
pub struct RouteListener {
    news: broadcast::Receiver<RouteNews>,
    first: Option<RouteNews>,
}

impl RouteListener {
    /// The next piece of news, as soon as there is one; `None` when there will be no more. Nothing
    /// is heard before the first [`RouteNews::Listening`]. Safe to drop while it waits.
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
