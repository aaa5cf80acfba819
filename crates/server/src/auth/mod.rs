//! Who asks, and whether they may.

mod origin;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use rehome_app::tokens::{Role, Token, TokenHash};
use rehome_domain::ids::TenantId;

use crate::answer::Problem;
use crate::rooms::Who;
use crate::state::State;
pub(crate) use origin::{Origins, check_origin};

/// The tokens that are known.
pub(crate) struct Tokens(Vec<Token>);

impl Tokens {
    pub(crate) fn new(tokens: &[Token]) -> Self {
        Self(tokens.to_vec())
    }

    /// Whether there are none, so that whoever reaches the server may do all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All are looked at, whichever it is, so that the time tells nothing.
    fn find(&self, hash: &TokenHash) -> Option<&Token> {
        self.0.iter().fold(
            None,
            |found, token| {
                if token.hash.matches(hash) { Some(token) } else { found }
            },
        )
    }
}

/// That a caller's role allows what it asks for. Bodies are read for those only who have one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit(());

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    name: Arc<str>,
    role: Role,
    hash: Option<TokenHash>,
}

impl Caller {
    /// From the head of a request.
    pub(crate) fn of_headers(tokens: &Tokens, headers: &HeaderMap) -> Result<Self, Problem> {
        if tokens.is_empty() {
            return Ok(Self::anyone());
        }
        let unknown = |detail| {
            Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
                .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| unknown("a token is needed, as `Authorization: Bearer TOKEN`"))?;
        let given = given.to_str().ok().and_then(|text| text.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, text) = given.ok_or_else(|| unknown("Authorization must be `Bearer TOKEN`"))?;
        Self::known(tokens, text.trim()).ok_or_else(|| unknown("nobody knows this token"))
    }

    /// Whoever reaches a server without tokens.
    pub(crate) fn anyone() -> Self {
        Self { name: "anyone".into(), role: Role::Admin, hash: None }
    }

    /// The bearer of this token, if it is known.
    pub(crate) fn known(tokens: &Tokens, text: &str) -> Option<Self> {
        let hash = TokenHash::of(text);
        let token = tokens.find(&hash)?;
        Some(Self { name: token.name.as_str().into(), role: token.role, hash: Some(hash) })
    }

    /// Whose share of the server's rooms it is; `None`: its address's.
    pub(crate) fn who(&self) -> Option<Who> {
        match self.role {
            _ if self.hash.is_none() => None,
            Role::Tenant(tenant) => Some(Who::Tenant(tenant)),
            Role::Viewer | Role::Operator | Role::Admin => Some(Who::Token(Arc::clone(&self.name))),
        }
    }

    /// The name of the token, for logs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the token is still what it was.
    pub(crate) fn is_known(&self, tokens: &Tokens) -> bool {
        match &self.hash {
            None => tokens.is_empty(),
            Some(hash) => tokens.find(hash).is_some_and(|token| token.role == self.role),
        }
    }

    fn refuse(&self, needed: &str) -> Problem {
        let detail =
            format!("the token \"{}\" is a {}'s; it takes {needed}", self.name, self.role.as_str());
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// May look at migrations and stores.
    pub(crate) fn may_view(&self) -> Result<Permit, Problem> {
        match self.role {
            Role::Viewer | Role::Operator | Role::Admin => Ok(Permit(())),
            Role::Tenant(_) => Err(self.refuse("a viewer")),
        }
    }

    /// May run migrations.
    pub(crate) fn may_operate(&self) -> Result<Permit, Problem> {
        match self.role {
            Role::Operator | Role::Admin => Ok(Permit(())),
            Role::Tenant(_) | Role::Viewer => Err(self.refuse("an operator")),
        }
    }

    /// May remove histories and say where an authority is.
    pub(crate) fn may_administer(&self) -> Result<Permit, Problem> {
        match self.role {
            Role::Admin => Ok(Permit(())),
            Role::Tenant(_) | Role::Viewer | Role::Operator => Err(self.refuse("an admin")),
        }
    }

    /// May append and read this tenant's events. Another tenant's token learns nothing of it, not
    /// even whether it is there.
    pub(crate) fn may_use(&self, tenant: TenantId) -> Result<Permit, Problem> {
        match self.role {
            Role::Admin => Ok(Permit(())),
            Role::Tenant(own) if own == tenant => Ok(Permit(())),
            Role::Tenant(_) | Role::Viewer | Role::Operator => {
                Err(self.refuse("an admin, or a token of this tenant"))
            }
        }
    }

    /// Whether the caller is the tenant itself, who sees nothing of how it is kept.
    pub(crate) fn is_tenant(&self, tenant: TenantId) -> bool {
        self.role == Role::Tenant(tenant)
    }
}

impl FromRequestParts<Arc<State>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Problem> {
        let tokens = Arc::clone(&state.tokens.borrow());
        Self::of_headers(&tokens, &parts.headers)
    }
}
