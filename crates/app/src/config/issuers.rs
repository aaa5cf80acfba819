//! `[[auth.issuers]]`, `[[auth.roles]]` and `[[auth.certificates]]`: people who come with a token of an
//! issuer, and clients that come with a certificate.

use std::time::Duration;

use rehome_domain::ids::{StoreId, TenantId};

use super::ConfigError;
use super::draft::{Draft, Row};
use super::keys::{Key, auth_certificates, auth_issuers, auth_roles, server};
use crate::certificates::{CertificateRule, Named};
use crate::oidc::{IssuerConfig, KeySource, RoleRule, StoresOf, TenantsOf};
use crate::tokens::{Grant, Role, check_name};

/// The issuers and the certificates, in the order of the file, and the problems of invalid ones.
pub(super) fn of(draft: &Draft) -> (Vec<IssuerConfig>, Vec<CertificateRule>, Vec<ConfigError>) {
    let mut problems = Vec::new();
    let mut issuers: Vec<IssuerConfig> = Vec::new();
    for row in draft.rows("auth.issuers") {
        match issuer(row) {
            Ok(issuer) if issuers.iter().any(|other| other.issuer == issuer.issuer) => {
                problems.push(row.place.refuse("auth.issuers.issuer is defined twice"));
            }
            Ok(issuer) => issuers.push(issuer),
            Err(problem) => problems.push(problem),
        }
    }
    for row in draft.rows("auth.roles") {
        problems.extend(add_rule(&mut issuers, row).err());
    }
    let rows = draft.rows("auth.issuers");
    if problems.is_empty()
        && let Some((row, issuer)) =
            rows.iter().zip(&issuers).find(|(_, issuer)| issuer.roles.is_empty())
    {
        let why =
            format!("auth.roles has no role for {}, so its people can do nothing", issuer.issuer);
        problems.push(row.place.refuse(why));
    }
    let mut certificates: Vec<CertificateRule> = Vec::new();
    for row in draft.rows("auth.certificates") {
        match certificate(row) {
            Ok(rule) if certificates.iter().any(|other| other.name == rule.name) => {
                problems.push(row.place.refuse("auth.certificates.name is defined twice"));
            }
            Ok(rule) => certificates.push(rule),
            Err(problem) => problems.push(problem),
        }
    }
    let has_ca = draft.values.raw_of(&server::CLIENT_CA).is_some();
    if let Some(row) = draft.rows("auth.certificates").first().filter(|_| !has_ca) {
        problems.push(row.place.refuse("auth.certificates needs server.client_ca"));
    }
    (issuers, certificates, problems)
}

/// A value that has to be there.
fn needed<T>(row: &Row, key: &Key<T>) -> Result<super::Set<T>, ConfigError> {
    let missing = || row.place.refuse(format!("{}.{} is missing", key.section, key.name));
    row.values.given(key)?.ok_or_else(missing)
}

fn issuer(row: &Row) -> Result<IssuerConfig, ConfigError> {
    let values = &row.values;
    let issuer = needed(row, &auth_issuers::ISSUER)?;
    let audience = needed(row, &auth_issuers::AUDIENCE)?.value;
    let keys = keys(row, &issuer)?;
    let algorithms = match values.given(&auth_issuers::ALGORITHMS)? {
        None => IssuerConfig::default_algorithms(),
        Some(set) => {
            let named = set.value.iter().map(|name| IssuerConfig::algorithm(name));
            named.collect::<Option<Vec<_>>>().ok_or_else(|| {
                set.place.refuse(
                    "auth.issuers.algorithms must be of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 \
                     and EdDSA: anyone who knows a shared secret (HS256) could issue tokens, and `none` is no \
                     signature",
                )
            })?
        }
    };
    let skew = values.effective(&auth_issuers::CLOCK_SKEW_S)?;
    Ok(IssuerConfig {
        issuer: issuer.value,
        audience,
        keys,
        algorithms,
        skew: Duration::from_secs(skew.into()),
        name_claim: values.effective(&auth_issuers::NAME_CLAIM)?,
        roles: Vec::new(),
    })
}

fn keys(row: &Row, issuer: &super::Set<String>) -> Result<KeySource, ConfigError> {
    let file = row.values.given(&auth_issuers::JWKS_FILE)?;
    match (file, row.values.given(&auth_issuers::JWKS_URL)?) {
        (Some(file), None) => Ok(KeySource::File(file.value)),
        (None, Some(url)) => {
            let (at, path) = KeySource::place(&url.value)
                .map_err(|why| url.place.refuse(format!("auth.issuers.jwks_url {why}")))?;
            Ok(KeySource::Url(at, path))
        }
        (None, None) => {
            let base = issuer.value.trim_end_matches('/');
            let (at, path) = KeySource::place(&format!("{base}/.well-known/openid-configuration"))
                .map_err(|why| {
                    let why =
                        format!("auth.issuers.issuer {why}, unless jwks_file or jwks_url is set");
                    issuer.place.refuse(why)
                })?;
            Ok(KeySource::Discovered(at, path))
        }
        (Some(file), Some(_)) => {
            Err(file.place.refuse("auth.issuers has both jwks_file and jwks_url"))
        }
    }
}

/// Adds a role to the issuer that it is of.
fn add_rule(issuers: &mut [IssuerConfig], row: &Row) -> Result<(), ConfigError> {
    let named = row.values.given(&auth_roles::ISSUER)?;
    let rule = rule(row)?;
    let issuer = match (named, &mut *issuers) {
        (None, [only]) => Some(only),
        (None, _) => {
            let why =
                "auth.roles.issuer is missing, and there is not exactly one [[auth.issuers]] entry";
            return Err(row.place.refuse(why));
        }
        (Some(named), all) => all.iter_mut().find(|issuer| issuer.issuer == named.value),
    };
    let unknown = || row.place.refuse("auth.roles.issuer is not one of [[auth.issuers]]");
    issuer.ok_or_else(unknown)?.roles.push(rule);
    Ok(())
}

fn rule(row: &Row) -> Result<RoleRule, ConfigError> {
    let values = &row.values;
    let claim = needed(row, &auth_roles::CLAIM)?.value;
    let value = needed(row, &auth_roles::VALUE)?.value;
    let role = needed(row, &auth_roles::ROLE)?;
    let these = values.value(&auth_roles::TENANTS)?;
    let tenants = match (these, values.value(&auth_roles::TENANTS_CLAIM)?) {
        (None, Some(claim)) => TenantsOf::Claim(claim),
        (these, None) => TenantsOf::These(these.unwrap_or_default()),
        (Some(_), Some(_)) => {
            return Err(row.place.refuse("auth.roles has both tenants and tenants_claim"));
        }
    };
    let these = values.value(&auth_roles::STORES)?;
    let stores = match (these, values.value(&auth_roles::STORES_CLAIM)?) {
        (None, Some(claim)) => StoresOf::Claim(claim),
        (these, None) => StoresOf::These(these.unwrap_or_default()),
        (Some(_), Some(_)) => {
            return Err(row.place.refuse("auth.roles has both stores and stores_claim"));
        }
    };
    // What claims will have is one of each at least.
    let some_tenants = match &tenants {
        TenantsOf::These(tenants) => tenants.clone(),
        TenantsOf::Claim(_) => vec![TenantId::new(uuid::Uuid::nil())],
    };
    let some_stores: Vec<StoreId> = match &stores {
        StoresOf::These(stores) => stores.clone(),
        StoresOf::Claim(_) => "some".parse().into_iter().collect(),
    };
    let parsed = Role::parse(&role.value).and_then(|parsed| {
        Grant::new(parsed, some_tenants, some_stores)?;
        Ok(parsed)
    });
    let role =
        parsed.map_err(|why| role.place.refuse(format!("auth.roles.role is wrong: {why}")))?;
    Ok(RoleRule { claim, value, role, tenants, stores })
}

fn certificate(row: &Row) -> Result<CertificateRule, ConfigError> {
    let values = &row.values;
    let name = needed(row, &auth_certificates::NAME)?;
    check_name(&name.value)
        .map_err(|why| name.place.refuse(format!("auth.certificates.name is wrong: {why}")))?;
    let san = values.value(&auth_certificates::SAN)?;
    let named = match (san, values.value(&auth_certificates::SUBJECT_CN)?) {
        (Some(san), None) => san,
        (None, Some(name)) => Named::CommonName(name),
        _ => {
            let why = "auth.certificates needs san or subject_cn, and not both";
            return Err(row.place.refuse(why));
        }
    };
    let role = needed(row, &auth_certificates::ROLE)?;
    let tenants = values.value(&auth_certificates::TENANTS)?.unwrap_or_default();
    let stores = values.value(&auth_certificates::STORES)?.unwrap_or_default();
    let grant = Role::parse(&role.value)
        .and_then(|parsed| Grant::new(parsed, tenants, stores))
        .map_err(|why| role.place.refuse(format!("auth.certificates.role is wrong: {why}")))?;
    Ok(CertificateRule { name: name.value, named, grant })
}
