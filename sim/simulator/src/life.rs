//! Whether a process lives, sleeps or is dead.
//!
//! A dead process is one whose calls never return, so the memory of its tasks has no
//! effect. A sleeping one has its calls held; those that were sent arrive.
//!
//! Tasks that wait for a death continue in the order in which they came. (Tasks that wait on a channel of
//! `tokio::sync::watch` would not: its order is random.)

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One life of one process.
#[derive(Debug)]
pub(crate) struct Life {
    dead: CancellationToken,
    awake_from: Mutex<Instant>,
}

impl Life {
    pub(crate) fn new() -> Self {
        Self { dead: CancellationToken::new(), awake_from: Mutex::new(Instant::now()) }
    }

    fn awake_from(&self) -> MutexGuard<'_, Instant> {
        self.awake_from.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Continues when the process is awake; never, once it is dead.
    pub(crate) async fn awake(&self) {
        loop {
            let time = *self.awake_from();
            if self.is_dead() {
                std::future::pending::<()>().await;
            } else if time > Instant::now() {
                tokio::time::sleep_until(time).await;
            } else {
                return;
            }
        }
    }

    pub(crate) fn kill(&self) {
        self.dead.cancel();
    }

    pub(crate) fn sleep(&self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        let mut awake_from = self.awake_from();
        *awake_from = until.max(*awake_from);
    }

    /// Resolves when the process is dead.
    pub(crate) async fn death(&self) {
        self.dead.cancelled().await;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }
}
