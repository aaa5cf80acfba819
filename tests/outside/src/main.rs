//! Appends an event and reads it back.
use rehome::{Append, EventStore as _, ExpectedVersion, Rehome, StreamName, TenantId, new_event};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = Rehome::builder().control_plane("sqlite:control.db").create(true);
    let store = builder.store("main", "sqlite:main.db").open().await?;
    let tenant: TenantId = "824a8fcf-0c14-513f-bd3a-4c35d1078706".parse()?;
    let stream = StreamName::new("greeting", "1")?;
    let events = vec![new_event("Greeted", &serde_json::json!({"hello": "world"}))?];
    let append = Append { stream: stream.clone(), expected: ExpectedVersion::Any, events };
    store.append(tenant, append).await?;
    for event in store.load(tenant, &stream).await? {
        println!("{} {}", &*event.event_type, event.data.as_str());
    }
    store.close().await;
    Ok(())
}
