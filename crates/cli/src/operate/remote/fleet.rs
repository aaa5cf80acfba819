//! Drains, cordons and pins through a server.

use std::time::Duration;

use async_trait::async_trait;
use hyper::Method;
use rehome_api::drain::{
    Drain, DrainPage, DrainPlan, DrainRequest, DrainRetry, DrainStart, DrainTenantPage,
    DrainTuning, Notice, TenantPage,
};
use rehome_app::{AppError, TenantsWanted};
use rehome_domain::ids::{DrainId, StoreId, TenantId};

use super::http::Ask;
use super::{Remote, query, reason, said};
use crate::operate::fleet::{Act, OperateFleet, SeenDrain};
use crate::operate::{Signals, Why};

/// Rows of a page.
const PAGE: usize = 1_000;
/// The polling interval of a drain.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[async_trait]
impl OperateFleet for Remote {
    async fn plan_drain(&self, request: &DrainRequest) -> Result<DrainPlan, AppError> {
        self.send("/v1/drains/plan".to_owned(), request).await
    }

    async fn start_drain(&self, start: &DrainStart, why: Why<'_>) -> Result<Drain, AppError> {
        let start = DrainStart { reason: said(why)?, ..start.clone() };
        self.begin_once("/v1/drains".to_owned(), &start).await
    }

    async fn drains(&self, open: bool, limit: usize) -> Result<Vec<Drain>, AppError> {
        let limit = limit.clamp(1, PAGE);
        let open = if open { "&open=true" } else { "" };
        let page: DrainPage =
            self.document(Ask::get(format!("/v1/drains?limit={limit}{open}"))).await?;
        Ok(page.drains)
    }

    async fn drain(&self, id: DrainId) -> Result<Drain, AppError> {
        self.document(Ask::get(format!("/v1/drains/{id}"))).await
    }

    async fn drain_tenants(
        &self,
        id: DrainId,
        state: Option<&str>,
        after: u64,
    ) -> Result<DrainTenantPage, AppError> {
        let state = state.map(|state| format!("&state={state}")).unwrap_or_default();
        let path = format!("/v1/drains/{id}/tenants?limit={PAGE}&after={after}{state}");
        self.document(Ask::get(path)).await
    }

    async fn act_on_drain(&self, id: DrainId, act: Act, why: Why<'_>) -> Result<Drain, AppError> {
        let what = match act {
            Act::Pause => "pause",
            Act::Resume => "resume",
            Act::Cancel => "cancel",
        };
        self.send(format!("/v1/drains/{id}/{what}"), &reason(why)?).await
    }

    async fn tune_drain(
        &self,
        id: DrainId,
        tuning: &DrainTuning,
        why: Why<'_>,
    ) -> Result<Drain, AppError> {
        let tuning = DrainTuning { reason: said(why)?, ..tuning.clone() };
        let path = format!("/v1/drains/{id}/settings");
        self.document(Ask::send(Method::PATCH, path, &tuning)?).await
    }

    async fn retry_drain(
        &self,
        id: DrainId,
        retry: &DrainRetry,
        why: Why<'_>,
    ) -> Result<Drain, AppError> {
        let retry = DrainRetry { reason: said(why)?, ..retry.clone() };
        self.send(format!("/v1/drains/{id}/retry"), &retry).await
    }

    async fn follow_drain(
        &self,
        id: DrainId,
        _: bool,
        seen: SeenDrain<'_>,
    ) -> Result<Drain, AppError> {
        let mut signals = Signals::listen();
        loop {
            let drain = self.drain(id).await?;
            seen(&drain);
            if drain.ended_at.is_some() {
                return Ok(drain);
            }
            tokio::select! {
                () = signals.next() => return Ok(drain),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn cordon(&self, store: &StoreId, why: Option<&str>) -> Result<Notice, AppError> {
        let what = if why.is_some() { "cordon" } else { "uncordon" };
        self.send(format!("/v1/stores/{store}/{what}"), &reason(why)?).await
    }

    async fn pin(&self, tenant: TenantId, why: Option<&str>) -> Result<Notice, AppError> {
        let what = if why.is_some() { "pin" } else { "unpin" };
        self.send(format!("/v1/tenants/{tenant}/{what}"), &reason(why)?).await
    }

    async fn tenants(&self, wanted: &TenantsWanted) -> Result<TenantPage, AppError> {
        let text = |text: &dyn ToString| Some(text.to_string());
        let query = query([
            ("limit", text(&wanted.limit.clamp(1, PAGE))),
            ("cursor", wanted.after.map(|after| after.to_string())),
            ("store", wanted.store.as_ref().map(ToString::to_string)),
            ("state", wanted.phase.map(|phase| phase.to_string())),
            ("search", wanted.search.clone()),
            ("pinned", wanted.pinned.then(|| "true".to_owned())),
        ]);
        self.document(Ask::get(format!("/v1/tenants?{query}"))).await
    }
}
