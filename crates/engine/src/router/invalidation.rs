//! Receives notifications of changed routes, and reads those routes again.
//!
//! Notifications make waits short and save an append that an old store would refuse. A router that misses
//! one does the same a little later: the store refuses its cached route, and
//! a waiting writer polls.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_ports::{ControlPlane, RouteListener, RouteNews};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::RouteCache;

/// Maximum time that reading one route may delay the next notification.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// The task that listens, started with the first use of the router.
#[derive(Default)]
pub(super) struct Listening {
    started: OnceLock<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Listening {
    /// Starts to listen, unless it already does, or the control plane has no notifications.
    pub(super) fn start(&self, control: &Arc<dyn ControlPlane>, cache: &Arc<RouteCache>) {
        self.started.get_or_init(|| {
            if let Some(listener) = control.listen() {
                let work = listen(listener, Arc::clone(control), Arc::clone(cache));
                let stop = self.stop.clone();
                self.tasks.spawn(async move { stop.run_until_cancelled_owned(work).await });
            }
        });
    }

    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(
    mut listener: RouteListener,
    control: Arc<dyn ControlPlane>,
    cache: Arc<RouteCache>,
) {
    // However this ends, the cache learns that notifications have stopped.
    let cache = Hearing(cache);
    let mut doubtful = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            news = listener.next() => match news {
                None => return,
                Some(RouteNews::Changed { tenant, rev }) => {
                    if cache.0.told(tenant, rev) {
                        doubtful.push_front(tenant);
                    }
                }
                Some(RouteNews::Silent) => cache.0.told_nothing(),
                Some(RouteNews::Listening) => doubtful = cache.0.told_to_listen().into(),
            },
            () = std::future::ready(()), if !doubtful.is_empty() => {
                if let Some(tenant) = doubtful.pop_front() {
                    read(&*control, &cache.0, tenant).await;
                }
            }
        }
    }
}

struct Hearing(Arc<RouteCache>);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.told_nothing();
    }
}

async fn read(control: &dyn ControlPlane, cache: &RouteCache, tenant: TenantId) {
    let moment = cache.moment();
    let route = tokio::time::timeout(READ_WITHIN, control.route(tenant)).await;
    // A row that cannot be read now is read when a store refuses the cached one.
    if let Ok(Ok(Some(route))) = route {
        cache.put(route, moment);
    }
}
