//! Callers and their rights.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use rehome_app::tokens::{Grant, Role};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_ports::SecretHash;

use super::Identity;
use crate::response::Problem;
use crate::rooms::Who;
use crate::state::State;

/// Proof that a caller's role allows the request. Bodies are read only with one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit(());

/// By what a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// By nothing: the deployment is open.
    None,
    /// By a token of the configuration.
    Configured(SecretHash),
    /// By a token in the control plane.
    Kept(SecretHash),
    /// By a token of an issuer, which is worth nothing from then on by this host's clock.
    Issued(Timestamp),
    /// By a certificate.
    Certificate,
}

impl Credential {
    /// The token's hash.
    pub(super) const fn token(&self) -> Option<&SecretHash> {
        match self {
            Self::None | Self::Issued(_) | Self::Certificate => None,
            Self::Configured(hash) | Self::Kept(hash) => Some(hash),
        }
    }
}

/// A caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(super) name: Arc<str>,
    pub(super) grant: Arc<Grant>,
    pub(super) credential: Credential,
    /// The session's hash, for a user of the console.
    pub(super) session: Option<SecretHash>,
}

impl Caller {
    /// Any client of an open deployment.
    pub(super) fn anyone() -> Self {
        Self {
            name: "anyone".into(),
            grant: Arc::new(Role::Admin.into()),
            credential: Credential::None,
            session: None,
        }
    }

    /// The holder of its reservations; `None`: its address.
    pub(crate) fn who(&self) -> Option<Who> {
        match (self.credential, self.grant.role(), self.grant.tenants()) {
            (Credential::None, ..) => None,
            (_, Role::Tenant | Role::Reader, [tenant]) => Some(Who::Tenant(*tenant)),
            _ => Some(Who::Token(Arc::clone(&self.name))),
        }
    }

    /// The name of the token, for logs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name of its role, for logs.
    pub(crate) fn role(&self) -> &'static str {
        self.grant.role().as_str()
    }

    /// Whether it has a credential, which a client of an open deployment has not.
    pub(crate) fn has_token(&self) -> bool {
        self.credential != Credential::None
    }

    /// What it is known by, in words.
    const fn shows(&self) -> &'static str {
        match self.credential {
            Credential::Certificate => "the certificate of",
            Credential::Issued(_) => "the token of",
            _ => "the token",
        }
    }

    /// Whether it looks after the deployment, and not after a tenant's events.
    pub(crate) fn is_operator(&self) -> bool {
        self.grant.role().views() || self.grant.role() == Role::Metrics
    }

    fn refuse(&self, needed: &str) -> Problem {
        let (name, role) = (&self.name, self.role());
        let bound = if self.is_bound() { ", bound to tenants or stores" } else { "" };
        let detail =
            format!("{} \"{name}\" has the role {role}{bound}; this needs {needed}", self.shows());
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    fn permit(&self, may: bool, needed: &str) -> Result<Permit, Problem> {
        if may { Ok(Permit(())) } else { Err(self.refuse(needed)) }
    }

    /// Whether it is bound to tenants or stores.
    pub(crate) fn is_bound(&self) -> bool {
        self.grant.is_bound()
    }

    /// What it is bound to, so that those who are bound alike are shown the same look; `None`: to nothing.
    pub(crate) fn bounds(&self) -> Option<Arc<Grant>> {
        self.is_bound().then(|| Arc::clone(&self.grant))
    }

    /// Whether it sees this store at all.
    pub(crate) fn sees_store(&self, store: &StoreId) -> bool {
        self.grant.covers_store(store)
    }

    /// The only tenant that it is bound to, if it is one.
    pub(crate) fn only_tenant(&self) -> Option<TenantId> {
        match self.grant.tenants() {
            [tenant] => Some(*tenant),
            _ => None,
        }
    }

    /// May view some migrations, tenants or stores: which ones is decided by
    /// [`Caller::within`] and [`Caller::within_store`].
    pub(crate) fn may_view_some(&self) -> Result<Permit, Problem> {
        self.permit(self.grant.role().views(), "a viewer")
    }

    /// May view the whole deployment.
    pub(crate) fn may_view(&self) -> Result<Permit, Problem> {
        self.may_view_some()?;
        self.permit(!self.is_bound(), "a viewer of the whole deployment")
    }

    /// May read the metrics.
    pub(crate) fn may_scrape(&self) -> Result<Permit, Problem> {
        if self.grant.role() == Role::Metrics { Ok(Permit(())) } else { self.may_view() }
    }

    /// May operate some migrations: which ones is decided by [`Caller::within`].
    pub(crate) fn may_operate_some(&self) -> Result<Permit, Problem> {
        let may = matches!(self.grant.role(), Role::Operator | Role::Admin);
        self.permit(may, "an operator")
    }

    /// What concerns this tenant in all of these stores is within its bounds.
    pub(crate) fn within<'a>(
        &self,
        tenant: TenantId,
        stores: impl IntoIterator<Item = &'a StoreId>,
    ) -> Result<(), Problem> {
        self.permit(self.grant.covers(tenant, stores), "one that is bound to it").map(drop)
    }

    /// Whether it sees what concerns this tenant in all of these stores.
    pub(crate) fn covers(&self, tenant: TenantId, stores: [&StoreId; 2]) -> bool {
        self.grant.covers(tenant, stores)
    }

    /// What concerns this store alone is within its bounds.
    pub(crate) fn within_store(&self, store: &StoreId) -> Result<(), Problem> {
        let may = self.grant.tenants().is_empty() && self.grant.covers_store(store);
        self.permit(may, "one that is bound to the store").map(drop)
    }

    /// May purge histories, choose an authority, and create tokens.
    pub(crate) fn may_administer(&self) -> Result<Permit, Problem> {
        self.permit(self.grant.role() == Role::Admin, "an admin")
    }

    /// May read this tenant's events. Another tenant's token learns nothing of it, not even whether it is
    /// there.
    pub(crate) fn may_read(&self, tenant: TenantId) -> Result<Permit, Problem> {
        let may = self.grant.role() == Role::Admin || self.is_tenant(tenant);
        self.permit(may, "an admin, or a token of this tenant")
    }

    /// May append this tenant's events, and move its checkpoints.
    pub(crate) fn may_append(&self, tenant: TenantId) -> Result<Permit, Problem> {
        self.may_read(tenant)?;
        self.permit(self.grant.role() != Role::Reader, "a token that may append")
    }

    /// Whether the caller is the tenant itself, who cannot see internals.
    pub(crate) fn is_tenant(&self, tenant: TenantId) -> bool {
        let is_own = matches!(self.grant.role(), Role::Tenant | Role::Reader);
        is_own && self.grant.tenants().contains(&tenant)
    }
}

impl FromRequestParts<Arc<State>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<State>) -> Result<Self, Problem> {
        // Every request passes the admission, which puts it there.
        let identity = parts.extensions.get::<Identity>().ok_or_else(Problem::internal)?;
        identity.bearer.clone()
    }
}
