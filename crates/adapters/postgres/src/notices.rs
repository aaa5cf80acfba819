//! Notifications of routes by `LISTEN` and `NOTIFY`.
//!
//! ```text
//! connect ──▶ LISTEN ──▶ receives, and is pinged every few seconds ──▶ cut off ──▶ waits, connects
//!                │                                                        │
//!                └─ sends `Listening`: earlier changes may be missed      └─ sends `Silent`
//! ```
//!
//! The connection is separate, past any pooler: a transaction pool cannot listen.
//! A server that hangs answers no ping, nor does a broken network.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_ports::{RouteListener, RouteNews, RouteTeller};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::{AsyncMessage, Notification};

use crate::error::ServerError;
use crate::schema::names::quoted;
use crate::server::Server;

/// First wait before a lost connection is made again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest wait.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often an idle connection is pinged.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const PING_WITHIN: Duration = Duration::from_secs(5);

/// The notifications of one control plane. It connects to the server with the first listener.
pub(crate) struct Notices {
    server: Arc<Server>,
    channel: String,
    teller: RouteTeller,
    task: OnceLock<Task>,
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Notices {
    pub(crate) fn new(server: &Arc<Server>) -> Self {
        Self {
            server: Arc::clone(server),
            channel: channel(&server.meta().identity),
            teller: RouteTeller::new(false),
            task: OnceLock::new(),
        }
    }

    /// The channel of `NOTIFY`.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Listens. Has to be called in a runtime.
    pub(crate) fn listen(&self) -> RouteListener {
        let listener = self.teller.listen();
        self.task.get_or_init(|| {
            let (server, channel) = (Arc::clone(&self.server), self.channel.clone());
            Task(tokio::spawn(run(server, channel, self.teller.clone())))
        });
        listener
    }
}

/// A channel is known in the whole database, and its name has at most 63 bytes: this one is this
/// control plane's, whatever its schema is called.
fn channel(identity: &str) -> String {
    format!("rehome_routes_{identity}")
}

async fn run(server: Arc<Server>, channel: String, teller: RouteTeller) {
    let (mut wait, mut first) = (RETRY_FIRST, true);
    loop {
        let mut heard = false;
        let ended = hear(&server, &channel, &teller, &mut heard).await;
        teller.tell(RouteNews::Silent);
        if heard {
            wait = RETRY_FIRST;
        }
        if heard || first {
            let why = ended.err().map(|error| error.fault(server.what()).to_string());
            tracing::warn!(
                why,
                "notifications of changed routes are interrupted; routes are polled instead"
            );
        }
        first = false;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Passes on the notifications of one connection, until it ends.
async fn hear(
    server: &Server,
    channel: &str,
    teller: &RouteTeller,
    heard: &mut bool,
) -> Result<(), ServerError> {
    let (client, mut connection) = server.listener().await?;
    let listen = format!("LISTEN {}", quoted(channel));
    let mut asked = Box::pin(client.batch_execute(&listen));
    let mut listening = false;
    // The deadline for the next message; without an open ping, the time of the next one.
    let mut due = Instant::now() + PING_WITHIN;
    let mut waiting = true;
    loop {
        tokio::select! {
            biased;
            message = std::future::poll_fn(|context| connection.poll_message(context)) => {
                match message {
                    None => return Ok(()),
                    Some(Err(error)) => return Err(error.into()),
                    Some(Ok(AsyncMessage::Notification(notice))) if listening => {
                        if let Some(news) = news(&notice) {
                            teller.tell(news);
                        }
                    }
                    Some(Ok(_)) => {}
                }
            }
            answer = &mut asked, if waiting => {
                answer?;
                if !listening {
                    (listening, *heard) = (true, true);
                    teller.tell(RouteNews::Listening);
                }
                waiting = false;
                due = Instant::now() + PING_EVERY;
            }
            () = tokio::time::sleep_until(due) => {
                if waiting {
                    return Err(ServerError::no_answer(PING_WITHIN));
                }
                asked = Box::pin(client.batch_execute("SELECT 1"));
                waiting = true;
                due = Instant::now() + PING_WITHIN;
            }
        }
    }
}

/// `NOTIFY`'s payload: the tenant and the revision of its route. Other payloads are ignored.
fn news(notice: &Notification) -> Option<RouteNews> {
    let (tenant, rev) = notice.payload().split_once(' ')?;
    let tenant: TenantId = tenant.parse().ok()?;
    Some(RouteNews::Changed { tenant, rev: rev.parse().ok()? })
}
