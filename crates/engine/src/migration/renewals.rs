//! The leases of one process are renewed together: one change of the control plane, however many
//! migrations it works on.
//!
//! The first task at a time gathers the others and renews for all. If it is dropped in the middle,
//! the waiting ones do it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rehome_ports::{ControlPlane, Lease, LeaseRequest};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long others may join.
const GATHER: Duration = Duration::from_millis(20);

type Waiting = (LeaseRequest, oneshot::Sender<Option<Lease>>);

/// The renewals of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Renewals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Renewals fall on multiples of their period after this moment, so that they meet.
    began: Instant,
    waiting: Mutex<Vec<Waiting>>,
    leads: tokio::sync::Mutex<()>,
}

impl Default for Renewals {
    fn default() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            waiting: Mutex::default(),
            leads: tokio::sync::Mutex::default(),
        }))
    }
}

impl Renewals {
    /// Waits for the moment of the next renewal: at most `every`, and not less than a half of it.
    pub(crate) async fn due(&self, every: Duration) {
        let since = self.0.began.elapsed();
        let periods = (since.as_secs_f64() / every.as_secs_f64()).floor() + 1.0;
        let next = every.mul_f64(periods);
        let left = next.saturating_sub(since);
        // A new one joins the others at the next renewal.
        let left = if left < every / 2 { left + every / 2 } else { left };
        tokio::time::sleep(left.min(every)).await;
    }

    /// Renews one lease, with those of the others. `None`: the control plane did not answer.
    pub(crate) async fn renew(
        &self,
        control: &dyn ControlPlane,
        request: &LeaseRequest,
    ) -> Option<Lease> {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.lock().push((request.clone(), answer));
            tokio::select! {
                biased;
                answer = &mut answered => match answer {
                    Ok(lease) => return lease,
                    // The task that renewed for this one is gone.
                    Err(_) => continue,
                },
                _leads = self.0.leads.lock() => {
                    tokio::time::sleep(GATHER).await;
                    let all = std::mem::take(&mut *self.lock());
                    let (requests, answers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
                    let leases = control.lease_all(&requests).await;
                    for (n, answer) in answers.into_iter().enumerate() {
                        let lease = leases.as_ref().ok().and_then(|leases| leases.get(n)).cloned();
                        // The receiver may be gone.
                        let _ = answer.send(lease.flatten());
                    }
                }
            }
            if let Ok(lease) = answered.await {
                return lease;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
