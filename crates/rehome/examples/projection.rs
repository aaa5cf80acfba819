//! A projection with a checkpoint: it continues from there after a restart and after its tenant has moved.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use rehome::{
    Append, BatchLimit, EventStore as _, ExpectedVersion, Rehome, StreamName, TenantId, new_event,
};
use serde_json::json;

/// How many events of each type there are.
type Counts = BTreeMap<String, usize>;

/// Folds new events, up to position `upto`, and commits the checkpoint.
async fn project(
    store: &Rehome,
    tenant: TenantId,
    upto: u64,
    counts: &mut Counts,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut subscription = store.subscribe(tenant, "counts").await?;
    while subscription.position() < upto {
        for event in subscription.next(BatchLimit::events(10)).await? {
            *counts.entry(event.event_type.to_string()).or_default() += 1;
        }
        // A real projection writes `counts` before this, so that a crash in between repeats and loses nothing.
        subscription.commit().await?;
    }
    Ok(())
}

/// All of it, on files in a folder.
pub async fn run(folder: &Path) -> Result<Counts, Box<dyn Error + Send + Sync>> {
    let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
    let builder = Rehome::builder().control_plane(url("control.db")).create(true);
    let store = builder.store("shared", url("shared.db")).open().await?;
    let tenant: TenantId = "824a8fcf-0c14-513f-bd3a-4c35d1078706".parse()?;
    let mut counts = Counts::new();
    for (round, event_type) in ["OrderPlaced", "OrderShipped"].into_iter().enumerate() {
        for order in 0..25 {
            let stream = StreamName::new("order", format!("{round}-{order}"))?;
            let events = vec![new_event(event_type, &json!({}))?];
            store.append(tenant, Append { stream, expected: ExpectedVersion::Any, events }).await?;
        }
        // The second round begins at the checkpoint of the first, as after a restart.
        let upto = store.head(tenant).await?;
        project(&store, tenant, upto, &mut counts).await?;
    }
    store.close().await;
    Ok(counts)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("{:?}", run(Path::new(".")).await?);
    Ok(())
}
