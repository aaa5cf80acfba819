//! A place where a call waits until the test releases it.

use std::sync::Arc;

use tokio::sync::watch;

/// Stops one call. Dropping the gate opens it, so that a failed test does not hang.
#[derive(Debug)]
#[must_use = "a gate that is dropped is open"]
pub struct Gate(Arc<Turnstile>);

#[derive(Debug, Default)]
pub(super) struct Turnstile {
    reached: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl Gate {
    pub(super) fn new() -> (Self, Arc<Turnstile>) {
        let turnstile = Arc::<Turnstile>::default();
        (Self(Arc::clone(&turnstile)), turnstile)
    }

    /// Waits until a call has reached the gate (or passed it).
    pub async fn reached(&self) {
        wait(&self.0.reached).await;
    }

    /// Whether a call has reached the gate or passed it.
    pub fn is_reached(&self) -> bool {
        *self.0.reached.borrow()
    }

    /// Releases the call, now or when it arrives.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Turnstile {
    pub(super) async fn pass(&self) {
        self.reached.send_replace(true);
        wait(&self.open).await;
    }
}

async fn wait(flag: &watch::Sender<bool>) {
    // The sender is borrowed here, so the channel cannot close while we wait.
    let _ = flag.subscribe().wait_for(|set| *set).await;
}
