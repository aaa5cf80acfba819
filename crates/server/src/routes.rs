//! Every route, once: the router and the OpenAPI document are made from the same list.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, middleware};
use rehome_api::Problem as Document;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Origins, check_origin};
use crate::query::{self, Parameters};
use crate::response::{Answer, Problem, finish, json_bytes, panicked};
use crate::rooms::admit;
use crate::state::State;
use crate::{admin, console, gateway, health};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "rehome",
        description = "Append and read tenants' events, and move tenants between stores while applications \
            write to them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Document)),
    security(("token" = []))
)]
struct Described;

/// The routes with their descriptions.
fn described() -> OpenApiRouter<Arc<State>> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::migration))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi))
        .routes(routes!(gateway::append_to_path, gateway::read_of_path))
        .routes(routes!(gateway::append_to))
        .routes(routes!(gateway::read_of))
        .routes(routes!(gateway::feed))
        .routes(routes!(gateway::checkpoint, gateway::move_checkpoint))
        .routes(routes!(gateway::tenant))
        .routes(routes!(admin::list, admin::start))
        .routes(routes!(admin::show))
        .routes(routes!(admin::log))
        .routes(routes!(admin::worker))
        .routes(routes!(admin::watch))
        .routes(routes!(admin::pause))
        .routes(routes!(admin::resume))
        .routes(routes!(admin::cutover))
        .routes(routes!(admin::withdraw))
        .routes(routes!(admin::abort))
        .routes(routes!(admin::repair))
        .routes(routes!(admin::acknowledge))
        .routes(routes!(admin::verify))
        .routes(routes!(admin::start_return))
        .routes(routes!(admin::options, admin::tune))
        .routes(routes!(admin::baseline, admin::take_baseline))
        .routes(routes!(admin::checklist))
        .routes(routes!(admin::checklist_of_none))
        .routes(routes!(admin::stores))
        .routes(routes!(admin::store))
        .routes(routes!(admin::plan))
        .routes(routes!(admin::estimate))
        .routes(routes!(admin::probe))
        .routes(routes!(admin::cordon))
        .routes(routes!(admin::uncordon))
        .routes(routes!(admin::drains, admin::start_drain))
        .routes(routes!(admin::plan_drain))
        .routes(routes!(admin::drain))
        .routes(routes!(admin::drain_tenants))
        .routes(routes!(admin::pause_drain))
        .routes(routes!(admin::resume_drain))
        .routes(routes!(admin::cancel_drain))
        .routes(routes!(admin::retry_drain))
        .routes(routes!(admin::tune_drain))
        .routes(routes!(admin::tenants))
        .routes(routes!(admin::pin))
        .routes(routes!(admin::unpin))
        .routes(routes!(admin::purge))
        .routes(routes!(admin::remove))
        .routes(routes!(admin::unguard))
        .routes(routes!(admin::position))
        .routes(routes!(admin::move_checkpoints))
        .routes(routes!(admin::recover))
        .routes(routes!(admin::tokens, admin::create_token))
        .routes(routes!(admin::rotate_token))
        .routes(routes!(admin::revoke_token))
}

/// The OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = described().into_openapi();
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert("token".to_owned(), token);
    document
}

/// All that the server answers.
pub(crate) fn router(state: &Arc<State>) -> Router {
    let config = &state.deployment.config().server;
    let origins = Origins::new(config);
    let (router, _) = described().split_for_parts();
    router
        .merge(console::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(Parameters::new(&document()), query::check))
        .layer(middleware::from_fn_with_state((origins, Arc::clone(state)), check_origin))
        .layer(cors(&config.cors))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(state), admit))
        .layer(middleware::from_fn_with_state(Arc::clone(state), finish))
        .with_state(Arc::clone(state))
}

/// What pages of the configured origins may send and see.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let named = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            named("idempotency-key"),
            named("last-event-id"),
            named("traceparent"),
            named("x-request-id"),
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            named("x-request-id"),
        ])
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "health", security(()), responses(
    (status = 200, description = "This document.", body = serde_json::Value),
    (status = 405, description = "The path does not support this method."),
))]
async fn openapi() -> Answer {
    let text = document().to_json().map_err(|_| Problem::internal())?;
    Ok(json_bytes(StatusCode::OK, text.into_bytes()))
}

async fn not_found() -> Response {
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", "there is no such path; see /openapi.json")
        .into_response()
}

async fn not_allowed() -> Response {
    let detail = "this path does not support the method; see the Allow header";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", detail).into_response()
}
