//! Tokens in the control plane: create, list, rotate, revoke. Every server accepts them.
//!
//! Each operation can be repeated after a lost response: creating a token again with the same secret returns the
//! existing one, and a revoked token stays revoked.

use rehome_api::duration::Millis;
use rehome_api::{Time, Token as Document, Tokens};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId, TokenId};
use rehome_ports::{AccessContents, AccessToken, Gate, Revocation};
use uuid::Uuid;

use crate::deployment::Deployment;
use crate::error::{AppError, Kind};
use crate::tokens::{Grant, Token, TokenHash, check_name, later};

/// A token to store.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Who, in logs.
    pub name: String,
    /// What its bearer may do.
    pub grant: Grant,
    /// Its hash.
    pub hash: TokenHash,
    /// How long it is good; `None`: until it is revoked.
    pub expires_in: Option<Millis>,
}

/// The grant of a stored token; `None` for a role that this version does not know.
pub fn kept_grant(token: &AccessToken) -> Option<Grant> {
    Grant::kept(&token.role, &token.scope).ok()
}

/// The access list, and the control plane's time.
struct Found {
    contents: AccessContents,
    now: Timestamp,
}

impl Found {
    /// Those of that name, in the order in which they were made.
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a AccessToken> {
        self.contents.tokens.iter().filter(move |token| token.name == name)
    }

    fn by_hash(&self, hash: &TokenHash) -> Option<&AccessToken> {
        self.contents.tokens.iter().find(|token| token.hash == hash.kept())
    }
}

async fn kept(deployment: &Deployment) -> Result<Found, AppError> {
    let access = deployment.access_registry().access(None).await?;
    // Without a known revision the whole list is returned.
    Ok(Found { contents: access.contents.unwrap_or_default(), now: access.now })
}

/// All tokens: those of this process's configuration, and those of the control plane.
pub async fn list(deployment: &Deployment) -> Result<Tokens, AppError> {
    let Found { contents, now } = kept(deployment).await?;
    let configured = deployment.config().tokens.iter().map(|token| of_configuration(token, now));
    let kept = contents.tokens.iter().map(|token| document(token, now));
    let closed = contents.gate.closed || deployment.config().lets_somebody_in();
    Ok(Tokens { closed, tokens: configured.chain(kept).collect() })
}

/// Stores a new token. From now on every request needs one.
pub async fn create(deployment: &Deployment, new: &NewToken) -> Result<Document, AppError> {
    check_name(&new.name)
        .map_err(|problem| AppError::new(Kind::Usage, "bad_token_name", problem))?;
    let found = kept(deployment).await?;
    if let Some(kept) = found.by_hash(&new.hash) {
        return same(kept, &new.name, &new.grant, found.now);
    }
    check_not_configured(deployment, &new.name)?;
    if found.named(&new.name).any(|token| token.is_good(found.now)) {
        let name = &new.name;
        return Err(AppError::refused(format!(
            "the token \"{name}\" already exists; `rehome token rotate {name}` replaces it, or use another \
                 name"
        )));
    }
    let token = made(deployment, new, found.now);
    deployment.access_registry().add_token(&token, None).await?;
    Ok(document(&token, found.now))
}

/// Stores a token as the replacement of the one of that name, which ends after this time.
pub async fn rotate(
    deployment: &Deployment,
    name: &str,
    hash: TokenHash,
    keep_old_for: Option<Millis>,
    expires_in: Option<Millis>,
) -> Result<Document, AppError> {
    let found = kept(deployment).await?;
    let good = found.named(name).filter(|token| token.is_good(found.now));
    let Some(old) = good.last() else { return Err(no_such(deployment, name, &found)) };
    let grant = kept_grant(old).ok_or_else(|| {
        let message = format!("the role of the token \"{name}\" is unknown to this version");
        AppError::refused(message)
    })?;
    if let Some(kept) = found.by_hash(&hash) {
        return same(kept, name, &grant, found.now);
    }
    let as_long = old.expires_at.map(|end| {
        let micros = end.micros().saturating_sub(old.created_at.micros());
        Millis(u64::try_from(micros / 1_000).unwrap_or(0))
    });
    let expires_in = expires_in.or(as_long);
    let token =
        made(deployment, &NewToken { name: name.to_owned(), grant, hash, expires_in }, found.now);
    let end = later(found.now, keep_old_for.unwrap_or_default());
    deployment.access_registry().add_token(&token, Some((old.id, end))).await?;
    Ok(document(&token, found.now))
}

/// Ends all tokens of that name; answers them.
pub async fn revoke(deployment: &Deployment, name: &str) -> Result<Vec<Document>, AppError> {
    let found = kept(deployment).await?;
    if found.named(name).next().is_none() {
        return Err(no_such(deployment, name, &found));
    }
    let end = Revocation { at: found.now, by: deployment.actor().to_owned() };
    for token in found.named(name).filter(|token| token.revoked.is_none()) {
        deployment.access_registry().revoke_token(token.id, &end).await?;
    }
    let found = kept(deployment).await?;
    Ok(found.named(name).map(|token| document(token, found.now)).collect())
}

/// Opens or closes the deployment for requests without a token, where no token is configured.
pub async fn set_gate(deployment: &Deployment, closed: bool) -> Result<Tokens, AppError> {
    let found = kept(deployment).await?;
    if !closed && let Some(token) = found.contents.tokens.iter().find(|t| t.is_good(found.now)) {
        return Err(AppError::refused(format!(
            "the token \"{}\" is valid; revoke all tokens before you open the deployment",
            token.name
        )));
    }
    let change = Revocation { at: found.now, by: deployment.actor().to_owned() };
    deployment.access_registry().set_gate(closed, &change).await?;
    list(deployment).await
}

/// Sees to it that a deployment whose server has tokens in its configuration stays closed without them;
/// answers whether it is closed.
pub async fn close_gate_if_configured(deployment: &Deployment) -> Result<bool, AppError> {
    let Gate { closed, .. } = kept(deployment).await?.contents.gate;
    if closed || !deployment.config().lets_somebody_in() {
        return Ok(closed);
    }
    set_gate(deployment, true).await.map(|tokens| tokens.closed)
}

fn made(deployment: &Deployment, new: &NewToken, now: Timestamp) -> AccessToken {
    AccessToken {
        id: TokenId::new(Uuid::now_v7()),
        name: new.name.clone(),
        role: new.grant.role().as_str().to_owned(),
        scope: new.grant.scope(),
        hash: new.hash.kept(),
        created_at: now,
        created_by: deployment.actor().to_owned(),
        expires_at: new.expires_in.map(|length| later(now, length)),
        revoked: None,
        last_used_at: None,
    }
}

fn check_not_configured(deployment: &Deployment, name: &str) -> Result<(), AppError> {
    if deployment.config().tokens.iter().all(|token| token.name != name) {
        return Ok(());
    }
    Err(AppError::refused(format!(
        "the token \"{name}\" is in the configuration; change its lines there, and send the \
             servers SIGHUP"
    )))
}

fn no_such(deployment: &Deployment, name: &str, found: &Found) -> AppError {
    if let Err(refused) = check_not_configured(deployment, name) {
        return refused;
    }
    let problem = if found.named(name).next().is_some() {
        "has expired or was revoked; `rehome token create` creates another"
    } else {
        "does not exist; see `rehome token list`"
    };
    AppError::new(Kind::NotFound, "unknown_token", format!("the token \"{name}\" {problem}"))
}

/// The answer to one that is made again.
fn same(
    kept: &AccessToken,
    name: &str,
    grant: &Grant,
    now: Timestamp,
) -> Result<Document, AppError> {
    if kept.name == name && kept_grant(kept).as_ref() == Some(grant) {
        return Ok(document(kept, now));
    }
    Err(AppError::refused("another token already has this secret"))
}

fn time(at: Timestamp) -> Time {
    Time(at.micros())
}

fn bounds(tenants: &[TenantId], stores: &[StoreId]) -> (Vec<Uuid>, Vec<String>) {
    let tenants = tenants.iter().map(|tenant| tenant.uuid()).collect();
    (tenants, stores.iter().map(ToString::to_string).collect())
}

fn document(token: &AccessToken, now: Timestamp) -> Document {
    let grant = kept_grant(token);
    let state = match (&token.revoked, &grant) {
        (Some(_), _) => "revoked",
        (None, _) if !token.is_good(now) => "expired",
        (None, None) => "unknown",
        (None, Some(_)) => "good",
    };
    let (tenants, stores) = bounds(&token.scope.tenants, &token.scope.stores);
    Document {
        name: token.name.clone(),
        role: grant.map_or_else(|| token.role.clone(), |grant| grant.role().as_str().to_owned()),
        tenants,
        stores,
        kept_in: "control_plane".to_owned(),
        state: state.to_owned(),
        created_at: Some(time(token.created_at)),
        created_by: Some(token.created_by.clone()),
        expires_at: token.expires_at.map(time),
        last_used_at: token.last_used_at.map(time),
        revoked_at: token.revoked.as_ref().map(|end| time(end.at)),
        revoked_by: token.revoked.as_ref().map(|end| end.by.clone()),
    }
}

fn of_configuration(token: &Token, now: Timestamp) -> Document {
    let is_good = token.expires_at.is_none_or(|end| now < end);
    let (tenants, stores) = bounds(token.grant.tenants(), token.grant.stores());
    Document {
        name: token.name.clone(),
        role: token.grant.role().as_str().to_owned(),
        tenants,
        stores,
        kept_in: "configuration".to_owned(),
        state: if is_good { "good" } else { "expired" }.to_owned(),
        created_at: None,
        created_by: None,
        expires_at: token.expires_at.map(time),
        last_used_at: None,
        revoked_at: None,
        revoked_by: None,
    }
}
