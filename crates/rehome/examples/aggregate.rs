//! An aggregate with optimistic concurrency: two clients change an account at once, and neither change is lost.

use std::error::Error;
use std::path::Path;

use rehome::{
    Append, AppendConflict, AppendError, EventStore as _, ExpectedVersion, Rehome, StreamName,
    TenantId, new_event,
};
use serde_json::{Value, json};

/// Withdraws, if the balance allows it. Decides again after a concurrent change.
async fn withdraw(
    store: &Rehome,
    tenant: TenantId,
    account: &StreamName,
    amount: i64,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let event = new_event("Withdrawn", &json!({ "amount": -amount }))?;
    loop {
        let events = store.load(tenant, account).await?;
        let amounts = events.iter().map(|event| serde_json::from_str::<Value>(event.data.as_str()));
        let balance: i64 = amounts.filter_map(|data| data.ok()?["amount"].as_i64()).sum();
        if balance < amount {
            return Ok(false);
        }
        let expected = ExpectedVersion::Exact(events.len() as u64);
        let append = Append { stream: account.clone(), expected, events: vec![event.clone()] };
        match store.append(tenant, append).await {
            Ok(_) => return Ok(true),
            Err(AppendError::Conflict(AppendConflict::Version { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// All of it, on files in a folder.
pub async fn run(folder: &Path) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
    let builder = Rehome::builder().control_plane(url("control.db")).create(true);
    let store = builder.store("shared", url("shared.db")).open().await?;
    let tenant: TenantId = "824a8fcf-0c14-513f-bd3a-4c35d1078706".parse()?;
    let account = StreamName::new("account", "1")?;
    let events = vec![new_event("Deposited", &json!({ "amount": 100 }))?];
    let append = Append { stream: account.clone(), expected: ExpectedVersion::NoStream, events };
    store.append(tenant, append).await?;
    // Of these, three fit into the balance.
    let tries = (0..8).map(|_| withdraw(&store, tenant, &account, 30));
    let done = futures_util::future::try_join_all(tries).await?;
    store.close().await;
    Ok(done.into_iter().filter(|done| *done).count())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("{} withdrawals", run(Path::new(".")).await?);
    Ok(())
}
