//! Operators' requests through a server, over HTTP.
//!
//! `http` sends one request, `retry` sends it until there is a response, `mutate` prevents a second effect of that,
//! `events` follows. This file maps each request to its path.

mod events;
mod fleet;
mod http;
mod mutate;
mod retry;

use std::time::Duration;

use async_trait::async_trait;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use rehome_api::admin::{
    Abort, BaselineRequest, LogPage, MigrationPage, MigrationStart, MoveCheckpoints, PlanRequest,
    ProbeRequest, Purge, Reason, RecoverRequest as RecoverBody, RemoveTenant, Resume, Return,
    Tuning, Unguard, Verify, Worker,
};
use rehome_api::duration::Millis;
use rehome_api::{
    Baseline, Checklist, ChecklistPhase, HealthReport, LogEntry, Migration, MovedCheckpoints,
    Options, OptionsPatch, Plan, Probe, Recovery, StoreCheckReport, Tenant, TenantPurge,
    TenantRemoval, TenantUnguarded, Token, TokenCreate, TokenRotate, Tokens, TranslatedPosition,
    Verification,
};
use rehome_app::config::ClientConfig;
use rehome_app::deployment::check_reason;
use rehome_app::http::HttpUrl;
use rehome_app::migrations::{EstimateRequest, Goal, Resumed, StartRequest, VerifyRequest};
use rehome_app::token_registry::NewToken;
use rehome_app::tokens::{TokenHash, check_name};
use rehome_app::{AppError, Kind, MigrationsWanted, RecoverRequest};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use serde::Serialize;
use uuid::Uuid;

use super::{Operate, Seen, Signals, Why};
use crate::output::{Out, View};
use http::{Ask, Http};
use mutate::Change;

/// Maximum number of migrations in one response.
const PAGE: usize = 200;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A server.
pub(super) struct Remote {
    out: Out,
    http: Http,
    url: HttpUrl,
    retry_for: Duration,
}

impl Remote {
    pub(super) fn new(out: Out, config: &ClientConfig) -> Result<Self, AppError> {
        let url = config.server.clone().ok_or_else(|| {
            AppError::new(Kind::Usage, "bad_usage", "no server is configured; see --server")
        })?;
        let http = Http::new(&url, config)?;
        Ok(Self { out, http, url, retry_for: config.retry_for })
    }

    /// Sends what begins something, with a key so that it begins once.
    async fn begin_once<T: serde::de::DeserializeOwned>(
        &self,
        path: String,
        body: &(impl Serialize + Sync),
    ) -> Result<T, AppError> {
        self.document(Ask::send(Method::POST, path, body)?.header(IDEMPOTENCY_KEY, &key()?)).await
    }

    /// Sends a long-running request repeatedly until it is done.
    async fn until_over<T: serde::de::DeserializeOwned>(
        &self,
        path: String,
        body: &(impl Serialize + Sync),
    ) -> Result<T, AppError> {
        let ask = Ask::send(Method::POST, path, body)?.header(IDEMPOTENCY_KEY, &key()?);
        loop {
            let reply = self.ask(&ask).await.result?;
            if reply.status != hyper::StatusCode::ACCEPTED {
                return self.read(&reply);
            }
        }
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        path: String,
        body: &(impl Serialize + Sync),
    ) -> Result<T, AppError> {
        self.document(Ask::send(Method::POST, path, body)?).await
    }

    async fn act(
        &self,
        id: MigrationId,
        what: &str,
        event: &str,
        body: impl Serialize + Sync,
    ) -> Result<(), AppError> {
        self.change(id, Change { method: Method::POST, what, body, event }).await
    }

    /// Shows the progress until the server reports that this was reached. Ctrl-C only ends the display.
    async fn shown_until(&self, id: MigrationId, until: &str) -> Result<Migration, AppError> {
        let mut view = View::new(self.out);
        let mut signals = Signals::listen();
        let followed = self.follow(id, Some(until), |migration| {
            view.show(migration);
            true
        });
        let reached = tokio::select! {
            reached = followed => reached,
            () = signals.next() => {
                let message = format!(
                    "no longer watched; the server continues it, and `rehome migration watch {id}` \
                     shows its progress; `rehome migration pause {id}` pauses it"
                );
                Err(AppError::failed("stopped", message).migration(id))
            }
        };
        drop(view);
        reached
    }
}

fn key() -> Result<HeaderValue, AppError> {
    let key = Uuid::new_v4().to_string();
    HeaderValue::from_str(&key).map_err(|error| AppError::failed("bad_key", error.to_string()))
}

fn said(why: Why<'_>) -> Result<Option<String>, AppError> {
    check_reason(why)?;
    Ok(why.map(str::to_owned))
}

fn reason(why: Why<'_>) -> Result<Reason, AppError> {
    Ok(Reason { reason: said(why)? })
}

/// The name of a token needs no escapes, or is none.
fn in_path(name: &str) -> Result<&str, AppError> {
    check_name(name).map_err(|problem| AppError::new(Kind::Usage, "bad_token_name", problem))?;
    Ok(name)
}

#[async_trait]
impl Operate for Remote {
    fn is_remote(&self) -> bool {
        true
    }

    async fn start(&self, request: &StartRequest, why: Why<'_>) -> Result<Migration, AppError> {
        let body = MigrationStart {
            tenant_id: request.tenant.uuid(),
            target_store: request.target.to_string(),
            options: request.options.clone(),
            reason: said(why)?,
        };
        self.begin_once("/v1/migrations".to_owned(), &body).await
    }

    async fn start_return(
        &self,
        id: MigrationId,
        options: &OptionsPatch,
        why: Why<'_>,
    ) -> Result<Migration, AppError> {
        let body = Return { options: options.clone(), reason: said(why)? };
        self.begin_once(format!("/v1/migrations/{id}/return"), &body).await
    }

    async fn migrations(&self, wanted: &MigrationsWanted) -> Result<Vec<Migration>, AppError> {
        let mut found: Vec<Migration> = Vec::new();
        let mut cursor = wanted.before.map(|before| before.to_string());
        while found.len() < wanted.limit {
            let part = (wanted.limit - found.len()).min(PAGE);
            let query = query([
                ("limit", Some(part.to_string())),
                ("tenant", wanted.tenant.map(|tenant| tenant.to_string())),
                ("state", wanted.phase.map(|phase| phase.to_string())),
                ("search", wanted.search.clone()),
                ("store", wanted.store.as_ref().map(ToString::to_string)),
                ("needs_you", wanted.needs_you.then(|| "true".to_owned())),
                ("cursor", cursor.take()),
            ]);
            let page: MigrationPage =
                self.document(Ask::get(format!("/v1/migrations?{query}"))).await?;
            found.extend(page.migrations);
            let Some(next) = page.next_cursor else { break };
            cursor = Some(next.to_string());
        }
        Ok(found)
    }

    async fn migration(&self, id: MigrationId) -> Result<Migration, AppError> {
        self.document(Ask::get(format!("/v1/migrations/{id}"))).await
    }

    async fn options(&self, id: MigrationId) -> Result<Options, AppError> {
        self.document(Ask::get(format!("/v1/migrations/{id}/options"))).await
    }

    async fn worker(&self, id: MigrationId) -> Result<Option<String>, AppError> {
        let worker = self.document::<Worker>(Ask::get(format!("/v1/migrations/{id}/worker")));
        Ok(worker.await?.holder)
    }

    async fn log(&self, id: MigrationId, after: u64) -> Result<Vec<LogEntry>, AppError> {
        let path = format!("/v1/migrations/{id}/log?after={after}");
        Ok(self.document::<LogPage>(Ask::get(path)).await?.entries)
    }

    async fn watch(&self, id: MigrationId, seen: Seen<'_>) -> Result<Migration, AppError> {
        self.follow(id, None, seen).await
    }

    async fn reach(&self, id: MigrationId, goal: Goal) -> Result<Migration, AppError> {
        let until = match goal {
            Goal::Migrated => "migrated",
            Goal::CutOver { .. } => "cut_over",
            Goal::Repaired => "repaired",
            Goal::NothingLeft => "nothing_left",
        };
        self.shown_until(id, until).await
    }

    async fn clean_up(&self, id: MigrationId) -> Result<Migration, AppError> {
        self.shown_until(id, "cleaned_up").await
    }

    async fn pause(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError> {
        self.act(id, "pause", "paused", reason(why)?).await
    }

    async fn resume(
        &self,
        id: MigrationId,
        keep_window: bool,
        why: Why<'_>,
    ) -> Result<Resumed, AppError> {
        let body = Resume { keep_window, reason: said(why)? };
        self.act(id, "resume", "resumed", body).await?;
        Ok(Resumed::ByAnother("the server".to_owned()))
    }

    async fn cutover(&self, id: MigrationId, why: Why<'_>) -> Result<Goal, AppError> {
        self.act(id, "cutover", "cutover_requested", reason(why)?).await?;
        // The server knows the attempt: the request stands until the cutover starts.
        Ok(Goal::CutOver { attempts: 0 })
    }

    async fn withdraw(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError> {
        self.act(id, "withdraw", "cutover_withdrawn", reason(why)?).await
    }

    async fn abort(&self, id: MigrationId, purge: bool, why: Why<'_>) -> Result<(), AppError> {
        let body = Abort { purge_target: purge, reason: said(why)? };
        self.act(id, "abort", "aborted", body).await
    }

    async fn repair(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError> {
        self.act(id, "repair", "repair_requested", reason(why)?).await
    }

    async fn acknowledge(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError> {
        self.act(id, "acknowledge", "acknowledged", reason(why)?).await
    }

    async fn tune(
        &self,
        id: MigrationId,
        patch: &OptionsPatch,
        why: Why<'_>,
    ) -> Result<Options, AppError> {
        let body = Tuning { options: patch.clone(), reason: said(why)? };
        let change = Change { method: Method::PATCH, what: "options", body, event: "tuned" };
        self.change(id, change).await?;
        self.options(id).await
    }

    async fn verify(
        &self,
        id: MigrationId,
        request: VerifyRequest,
        why: Why<'_>,
    ) -> Result<Verification, AppError> {
        let VerifyRequest { level, sample, after_seq, rate_max } = request;
        let body = Verify {
            level: Some(level.as_str().to_owned()),
            sample: Some(sample),
            after_seq,
            rate_max,
            reason: said(why)?,
        };
        self.until_over(format!("/v1/migrations/{id}/verify"), &body).await
    }

    async fn take_baseline(&self, id: MigrationId, window: Duration) -> Result<Baseline, AppError> {
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let body = BaselineRequest { window: Some(Millis(millis)) };
        self.until_over(format!("/v1/migrations/{id}/baseline"), &body).await
    }

    async fn baseline(&self, id: MigrationId) -> Result<Baseline, AppError> {
        self.document(Ask::get(format!("/v1/migrations/{id}/baseline"))).await
    }

    async fn plan(&self, tenant: TenantId, target: &StoreId) -> Result<Plan, AppError> {
        let body = PlanRequest { tenant_id: tenant.uuid(), target_store: target.to_string() };
        self.send("/v1/plans".to_owned(), &body).await
    }

    async fn probe(
        &self,
        tenant: TenantId,
        target: &StoreId,
        told: &EstimateRequest,
    ) -> Result<Probe, AppError> {
        let body = ProbeRequest {
            tenant_id: tenant.uuid(),
            target_store: target.to_string(),
            copy_rate_per_second: told.copy_rate,
            dual_write_lag_events: told.lag_events,
            cutover_pause_seconds: told.pause_seconds,
            buffer_factor: told.buffer_factor,
            write_rate_per_second: told.write_rate,
        };
        self.send("/v1/probes".to_owned(), &body).await
    }

    async fn health(&self) -> Result<HealthReport, AppError> {
        self.document(Ask::get("/health/migration").also(hyper::StatusCode::SERVICE_UNAVAILABLE))
            .await
    }

    async fn checklist(
        &self,
        phase: ChecklistPhase,
        id: Option<MigrationId>,
    ) -> Result<Checklist, AppError> {
        let phase = phase.as_str();
        let path = match id {
            Some(id) => format!("/v1/migrations/{id}/checklists/{phase}"),
            None => format!("/v1/checklists/{phase}"),
        };
        self.document(Ask::get(path)).await
    }

    async fn check_stores(&self, id: Option<&StoreId>) -> Result<StoreCheckReport, AppError> {
        let path = match id {
            Some(id) => format!("/v1/stores/{id}"),
            None => "/v1/stores".to_owned(),
        };
        self.document(Ask::get(path)).await
    }

    async fn tenant(&self, tenant: TenantId) -> Result<Tenant, AppError> {
        self.document(Ask::get(format!("/v1/tenants/{tenant}"))).await
    }

    async fn purge(
        &self,
        tenant: TenantId,
        store: &StoreId,
        close_window: bool,
        why: Why<'_>,
    ) -> Result<TenantPurge, AppError> {
        let body = Purge { store: store.to_string(), close_window, reason: said(why)? };
        self.send(format!("/v1/tenants/{tenant}/purge"), &body).await
    }

    async fn remove(
        &self,
        tenant: TenantId,
        events: Option<u64>,
        why: Why<'_>,
    ) -> Result<TenantRemoval, AppError> {
        let body = RemoveTenant { events, reason: said(why)? };
        self.send(format!("/v1/tenants/{tenant}/remove"), &body).await
    }

    async fn unguard(&self, tenant: TenantId, why: Why<'_>) -> Result<TenantUnguarded, AppError> {
        let body = Unguard { reason: said(why)? };
        self.send(format!("/v1/tenants/{tenant}/unguard"), &body).await
    }

    async fn move_checkpoints(
        &self,
        tenant: TenantId,
        from: &StoreId,
        to: &StoreId,
        why: Why<'_>,
    ) -> Result<MovedCheckpoints, AppError> {
        let (from, to) = (from.to_string(), to.to_string());
        let body = MoveCheckpoints { from, to, reason: said(why)? };
        self.send(format!("/v1/tenants/{tenant}/checkpoints"), &body).await
    }

    async fn position(
        &self,
        tenant: TenantId,
        position: i64,
        from: &StoreId,
        to: &StoreId,
    ) -> Result<TranslatedPosition, AppError> {
        let path = format!("/v1/tenants/{tenant}/position?position={position}&from={from}&to={to}");
        self.document(Ask::get(path)).await
    }

    async fn recover(
        &self,
        request: &RecoverRequest,
        why: Why<'_>,
    ) -> Result<Vec<Recovery>, AppError> {
        let body = RecoverBody {
            tenant_id: request.tenant.map(TenantId::uuid),
            store: request.store.as_ref().map(StoreId::to_string),
            apply: request.apply,
            accept_loss: request.accept_loss,
            reason: said(why)?,
        };
        self.send("/v1/recoveries".to_owned(), &body).await
    }

    async fn tokens(&self) -> Result<Tokens, AppError> {
        self.document(Ask::get("/v1/tokens")).await
    }

    async fn create_token(&self, new: &NewToken, why: Why<'_>) -> Result<Token, AppError> {
        let NewToken { name, grant, hash, expires_in } = new;
        let body = TokenCreate {
            name: name.clone(),
            role: grant.role().as_str().to_owned(),
            tenants: grant.tenants().iter().map(|tenant| tenant.uuid()).collect(),
            stores: grant.stores().iter().map(StoreId::to_string).collect(),
            expires_in: *expires_in,
            sha256: hash.to_string(),
            reason: said(why)?,
        };
        self.send("/v1/tokens".to_owned(), &body).await
    }

    async fn rotate_token(
        &self,
        name: &str,
        hash: TokenHash,
        (keep_old_for, expires_in): (Option<Millis>, Option<Millis>),
        why: Why<'_>,
    ) -> Result<Token, AppError> {
        let (sha256, reason) = (hash.to_string(), said(why)?);
        let body = TokenRotate { sha256, keep_old_for, expires_in, reason };
        self.send(format!("/v1/tokens/{}/rotate", in_path(name)?), &body).await
    }

    async fn revoke_token(&self, name: &str, why: Why<'_>) -> Result<Vec<Token>, AppError> {
        self.send(format!("/v1/tokens/{}/revoke", in_path(name)?), &reason(why)?).await
    }

    async fn close(self: Box<Self>) {}
}

/// Parameters that are given, percent-encoded.
fn query<const N: usize>(pairs: [(&str, Option<String>); N]) -> String {
    let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    serde_urlencoded::to_string(given.collect::<Vec<_>>()).unwrap_or_default()
}
