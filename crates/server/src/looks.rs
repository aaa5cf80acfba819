//! Shared observations: followers of the same subject share one query, so that the
//! queries to stores and control plane do not grow with the number of viewers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// From here on, observations without viewers are dropped.
const KEPT: usize = 64;

type Slot<T> = Arc<tokio::sync::Mutex<Option<(Instant, T)>>>;

/// The last observation of each.
pub(crate) struct Looks<K, T>(Mutex<HashMap<K, Slot<T>>>);

impl<K, T> Default for Looks<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T: Clone> Looks<K, T> {
    /// The last observation that is not older than this, or a new one. Concurrent callers wait for it. A failed
    /// one is not stored.
    pub(crate) async fn at<E>(
        &self,
        key: K,
        age: Duration,
        look: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let slot = self.slot(key);
        let mut last = slot.lock().await;
        if let Some((at, seen)) = &*last
            && at.elapsed() < age
        {
            return Ok(seen.clone());
        }
        let seen = look.await?;
        *last = Some((Instant::now(), seen.clone()));
        Ok(seen)
    }

    fn slot(&self, key: K) -> Slot<T> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEPT {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const AGE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn many_who_look_at_once_look_once() {
        let (looks, times) = (Looks::default(), AtomicUsize::new(0));
        let look = || async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(times.fetch_add(1, Ordering::Relaxed))
        };
        let all = (0..100).map(|_| looks.at("a", AGE, look()));
        futures_util::future::join_all(all).await;
        assert_eq!(times.load(Ordering::Relaxed), 1);
        assert_eq!(looks.at("b", AGE, look()).await, Ok(1));
        tokio::time::advance(AGE).await;
        assert_eq!(looks.at("a", AGE, look()).await, Ok(2));
    }

    #[tokio::test]
    async fn a_look_that_fails_is_made_again_and_what_nobody_looks_at_is_forgotten() {
        let looks = Looks::default();
        assert_eq!(looks.at(0, AGE, async { Err::<u8, _>("no") }).await, Err("no"));
        for n in 0..1_000 {
            assert_eq!(looks.at(n, AGE, async { Ok::<u8, &str>(1) }).await, Ok(1));
        }
        assert!(looks.0.lock().unwrap().len() <= KEPT);
    }
}
