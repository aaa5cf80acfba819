//! A service with axum: `POST /notes/{id}` appends to a note, `GET /notes/{id}` lists its events.

use std::error::Error;
use std::path::Path as Folder;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use rehome::{
    Append, AppendConflict, AppendError, EventStore as _, ExpectedVersion, Rehome, StreamName,
    TenantId, new_event,
};
use serde_json::Value;

const TENANT: &str = "824a8fcf-0c14-513f-bd3a-4c35d1078706";
fn place(id: String) -> Result<(TenantId, StreamName), StatusCode> {
    let tenant = TENANT.parse().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let stream = StreamName::new("note", id).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok((tenant, stream))
}

async fn append(
    State(store): State<Rehome>,
    Path(id): Path<String>,
    Json(note): Json<Value>,
) -> Result<StatusCode, StatusCode> {
    let (tenant, stream) = place(id)?;
    let event = new_event("Noted", &note).map_err(|_| StatusCode::BAD_REQUEST)?;
    let append = Append { stream, expected: ExpectedVersion::Any, events: vec![event] };
    match store.append(tenant, append).await {
        Ok(_) => Ok(StatusCode::CREATED),
        Err(AppendError::Conflict(AppendConflict::Version { .. })) => Err(StatusCode::CONFLICT),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

async fn list(
    State(store): State<Rehome>,
    Path(id): Path<String>,
) -> Result<Json<Vec<Value>>, StatusCode> {
    let (tenant, stream) = place(id)?;
    let events = store.load(tenant, &stream).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(events.iter().filter_map(|one| serde_json::from_str(one.data.as_str()).ok()).collect()))
}

/// The routes, over files in a folder.
pub async fn service(folder: &Folder) -> Result<Router, Box<dyn Error + Send + Sync>> {
    let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
    let builder = Rehome::builder().control_plane(url("control.db")).create(true);
    let store = builder.store("shared", url("shared.db")).open().await?;
    Ok(Router::new().route("/notes/{id}", get(list).post(append)).with_state(store))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, service(Folder::new(".")).await?).await?)
}
