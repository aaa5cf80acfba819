//! Waiting for a ledger row whose holder may have stopped.
//!
//! A process that is stopped (SIGSTOP, a frozen machine, a network that drops everything) inside the
//! transaction of a copy holds the tenant's row, and does not release it. The
//! server knows the holder: the row's `xmax` is the transaction that locked it. A waiting process checks
//! every [`LOOK_AFTER_MS`]; a holder whose server process waits for its client, and has made no
//! progress since the last check, is ended after [`STILL_FOR`]. A live copy that was ended by mistake
//! has lost one batch, which it sends again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rehome_domain::ids::TenantId;
use tokio_postgres::types::Type;

use crate::error::ServerError;
use crate::server::Server;

/// How long one attempt at a row waits for its lock, in milliseconds. Short, because later appends
/// queue behind it.
pub(crate) const LOOK_AFTER_MS: i32 = 100;
/// How long a holder may wait for its client without a byte.
const STILL_FOR: Duration = Duration::from_millis(700);
/// How long to wait for the row at all.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// What a holder has done so far: the same text twice is a holder that did nothing in between.
const HOLDER: &str = "SELECT a.pid, concat_ws(' ', a.pid, a.backend_start, a.xact_start, \
         a.query_start, a.state_change, c.bytes_processed, c.tuples_processed) AS done \
     FROM {schema}.ledger AS l \
     JOIN pg_catalog.pg_locks AS k ON k.locktype = 'transactionid' AND k.transactionid = l.xmax \
         AND k.granted AND k.mode = 'ExclusiveLock' \
     JOIN pg_catalog.pg_stat_activity AS a ON a.pid = k.pid \
     LEFT JOIN pg_catalog.pg_stat_progress_copy AS c ON c.pid = k.pid \
     WHERE l.tenant = $1 AND a.wait_event_type = 'Client'";

/// Waits of one operation for one tenant's row.
pub(crate) struct Wait {
    tenant: TenantId,
    /// Who holds it.
    holder: &'static str,
    began: Instant,
    /// The holders that were seen still, and since when.
    still: HashMap<String, Instant>,
}

impl Wait {
    pub(crate) fn new(tenant: TenantId) -> Self {
        Self::held_by(tenant, HOLDER)
    }

    /// The same, of a row whose holder another query finds.
    pub(crate) fn held_by(tenant: TenantId, holder: &'static str) -> Self {
        Self { tenant, holder, began: Instant::now(), still: HashMap::new() }
    }

    /// After an attempt that ended with `locked`: finds the holder of the row, and ends it if it has
    /// made no progress for too long. Returns whether to try again.
    pub(crate) async fn or(
        &mut self,
        server: &Server,
        locked: ServerError,
    ) -> Result<(), ServerError> {
        if self.began.elapsed() > GIVE_UP_AFTER {
            return Err(locked);
        }
        let tenant = self.tenant.uuid();
        let mut client = server.client().await?;
        let found = client
            .read(&format!("SELECT done FROM ({}) AS h", self.holder), &[(&tenant, Type::UUID)])
            .await?;
        let now = Instant::now();
        let seen = found.iter().map(|row| {
            let done: String = crate::rows::get(row, 0)?;
            let since = self.still.get(&done).copied().unwrap_or(now);
            Ok((done, since))
        });
        self.still = seen.collect::<Result<_, ServerError>>()?;
        // Several may have stopped: a writer's whole process with all its connections.
        let stopped = self.still.extract_if(|_, since| now - *since >= STILL_FOR);
        let stopped: Vec<String> = stopped.map(|(done, _)| done).collect();
        if !stopped.is_empty() {
            let end = format!(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM ({}) AS h WHERE done = ANY ($2)",
                self.holder
            );
            client.read(&end, &[(&tenant, Type::UUID), (&stopped, Type::TEXT_ARRAY)]).await?;
        }
        Ok(())
    }
}
