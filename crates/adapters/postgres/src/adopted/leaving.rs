//! Removes one tenant from the guard: records the decision, waits for transactions that may still need the guard, deletes its data.

use std::time::Instant;

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::Ledger;
use rehome_ports::FaultKind;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::guarding::{DRAIN_FOR, LOOK_AGAIN};
use super::{Answer, PgAdopted, change};
use crate::error::ServerError;
use crate::rows::{self, Read, get};

/// How long one attempt waits for writers that hold rows, while later ones queue.
const LOCK_MS: i32 = 400;

/// From here on the guard goes, unless a migration calls it off.
pub(super) async fn leave(
    store: &PgAdopted,
    tenant: TenantId,
    epoch: Epoch,
    by: Uuid,
) -> Answer<Ledger> {
    let ledger = change::ledger(store, tenant).await?;
    ledger.check_unguard(epoch)?;
    let mut client = store.server.client().await?;
    let found = client
        .write(
            "SELECT o_role, o_epoch, o_seq, o_digest FROM {schema}.leave($1, $2, $3)",
            &[(&tenant.uuid(), Type::UUID), (&rows::int(epoch.0)?, Type::INT8), (&by, Type::UUID)],
        )
        .await?;
    let ledger = found.first().map(|row| rows::ledger(row, 0)).transpose()?;
    let ledger = ledger.unwrap_or(Ledger::ABSENT);
    ledger.check_unguard(epoch)?;
    Ok(ledger)
}

/// Removes the guard. Waits for a while for transactions that have held the table since before the decision (rule R11); the
/// caller repeats the call.
pub(super) async fn unguard(
    store: &PgAdopted,
    tenant: TenantId,
    epoch: Epoch,
    by: Uuid,
) -> Answer<()> {
    let began = Instant::now();
    loop {
        let in_the_way = match try_unguard(store, tenant, epoch, by).await {
            Ok(left) if left.is_empty() => break,
            Ok(left) => left.join(", "),
            Err(error) if error.is_locked() => "transactions with rows of the tenant".to_owned(),
            Err(error) => return Err(error.into()),
        };
        if began.elapsed() > DRAIN_FOR {
            return Err(ServerError::new(FaultKind::Waits(format!(
                "transactions that can write the table are older than the decision to remove the guard of tenant \
                 {tenant}: {in_the_way}; wait for them, or end them, and try again: the guard is removed after they have ended"
            )))
            .into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let mut client = store.server.client().await?;
    client.write("SELECT {schema}.mark()", &[]).await?;
    Ok(())
}

/// The transactions to wait for; none: the guard is removed.
async fn try_unguard(
    store: &PgAdopted,
    tenant: TenantId,
    epoch: Epoch,
    by: Uuid,
) -> Read<Vec<String>> {
    let mut client = store.server.client().await?;
    let found = client
        .write(
            "SELECT o_who FROM {schema}.unguard($1, $2, $3, $4)",
            &[
                (&tenant.uuid(), Type::UUID),
                (&rows::int(epoch.0)?, Type::INT8),
                (&by, Type::UUID),
                (&LOCK_MS, Type::INT4),
            ],
        )
        .await?;
    let names = found.iter().map(|row| get::<Option<String>>(row, 0)).collect::<Read<Vec<_>>>()?;
    if names.iter().any(Option::is_none) {
        return Err(ServerError::new(FaultKind::Waits(format!(
            "tenant {tenant} stays guarded: a migration or another call has started since; try again when it has ended"
        ))));
    }
    Ok(names.into_iter().flatten().collect())
}
