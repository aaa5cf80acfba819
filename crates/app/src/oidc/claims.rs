//! What claims allow: pure.

use rehome_domain::ids::{StoreId, TenantId};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::IssuerConfig;
use crate::tokens::{Grant, Role};

/// Maximum length of a stored name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Who has a role: those in whose tokens the claim has the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule {
    /// The claim; `a.b` is `b` within `a`, unless there is a claim of that whole name.
    pub claim: String,
    /// The value; of a list, one of its entries, of `scope` one of its words.
    pub value: String,
    /// The role.
    pub role: Role,
    /// The tenants that it is bound to.
    pub tenants: TenantsOf,
    /// The stores that it is bound to.
    pub stores: StoresOf,
}

/// Tenants: these, or those that a claim has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantsOf {
    /// These; none: to no tenant in particular.
    These(Vec<TenantId>),
    /// Those of that claim, which must have one at least.
    Claim(String),
}

/// Stores: these, or those that a claim has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoresOf {
    /// These; none: to no store in particular.
    These(Vec<StoreId>),
    /// Those of that claim, which must have one at least.
    Claim(String),
}

/// The grant of the first matching rule; the error explains why there is none.
pub(super) fn grant(rules: &[RoleRule], claims: &Value) -> Result<Grant, String> {
    let fits = |rule: &&RoleRule| texts(claims, &rule.claim).contains(&rule.value.as_str());
    let Some(rule) = rules.iter().find(fits) else {
        let mut asked: Vec<_> = rules.iter().map(|rule| rule.claim.as_str()).collect();
        asked.dedup();
        return Err(format!(
            "the token is valid, but none of its claims has a role here (checked: {}); ask an administrator to add one \
             at the issuer, or to add a rule to [[auth.roles]]",
            asked.join(", ")
        ));
    };
    let tenants = match &rule.tenants {
        TenantsOf::These(tenants) => tenants.clone(),
        TenantsOf::Claim(claim) => bound(claims, claim, "tenants")?,
    };
    let stores = match &rule.stores {
        StoresOf::These(stores) => stores.clone(),
        StoresOf::Claim(claim) => bound(claims, claim, "stores")?,
    };
    Grant::new(rule.role, tenants, stores).map_err(|why| format!("its rule is invalid: {why}"))
}

/// The ids in a claim. None, or one that is none, is a refusal: an empty list binds to nothing.
fn bound<T: std::str::FromStr>(claims: &Value, claim: &str, what: &str) -> Result<Vec<T>, String> {
    let ids: Result<Vec<T>, _> = texts(claims, claim).into_iter().map(str::parse).collect();
    ids.ok().filter(|ids| !ids.is_empty()).ok_or_else(|| {
        format!(
            "the token is valid, but its claim {claim} names no {what}, to which its role is bound"
        )
    })
}

/// The texts of a claim.
fn texts<'a>(claims: &'a Value, name: &str) -> Vec<&'a str> {
    let whole = claims.get(name);
    let within = || name.split('.').try_fold(claims, |value, part| value.get(part));
    match whole.or_else(within) {
        // Source: RFC 8693, section 4.2.
        Some(Value::String(words)) if name == "scope" => words.split(' ').collect(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The person's name. Characters that a name may not have become `_`, and then the name ends with a hash, so that two
/// persons are never confused.
pub(super) fn name(config: &IssuerConfig, claims: &Value) -> Result<String, String> {
    let claim = &config.name_claim;
    let [name] = texts(claims, claim)[..] else {
        return Err(format!("the token has no claim {claim}, which identifies the caller"));
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@+".contains(c);
    let mut shown: String = name.chars().take(NAME_CHARS_MAX).collect();
    shown = shown.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if shown != name {
        let hash = Sha256::digest(format!("{} {name}", config.issuer));
        let hash = hash.iter().take(4).map(|byte| format!("{byte:02x}"));
        shown = format!("{shown}~{}", hash.collect::<String>());
    }
    Ok(format!("oidc:{shown}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(claim: &str, value: &str, role: Role) -> RoleRule {
        let (tenants, stores) = (TenantsOf::These(Vec::new()), StoresOf::These(Vec::new()));
        RoleRule { claim: claim.to_owned(), value: value.to_owned(), role, tenants, stores }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = [
            rule("groups", "ops", Role::Operator),
            rule("realm.roles", "look", Role::Viewer),
            rule("scope", "metrics", Role::Metrics),
        ];
        let role = |claims: Value| grant(&rules, &claims).map(|grant| grant.role());
        assert_eq!(role(json!({"groups": ["x", "ops"]})), Ok(Role::Operator));
        assert_eq!(role(json!({"groups": "ops", "scope": "metrics"})), Ok(Role::Operator));
        assert_eq!(role(json!({"realm": {"roles": ["look"]}})), Ok(Role::Viewer));
        assert_eq!(role(json!({"realm.roles": "look"})), Ok(Role::Viewer));
        assert_eq!(role(json!({"scope": "openid metrics"})), Ok(Role::Metrics));
        for none in [
            json!({}),
            json!({"groups": "ops x"}),
            json!({"groups": [["ops"]]}),
            json!({"groups": {"ops": true}}),
            json!({"scope": "metricsx"}),
        ] {
            assert!(role(none.clone()).unwrap_err().contains("groups, realm.roles"), "{none}");
        }
    }

    #[test]
    fn a_role_that_a_claim_binds_is_never_without_bounds() {
        let tenants = TenantsOf::Claim("tenant".to_owned());
        let rules = [RoleRule { tenants, ..rule("groups", "ops", Role::Operator) }];
        let id = uuid::Uuid::from_u128(1);
        let good = grant(&rules, &json!({"groups": "ops", "tenant": id})).unwrap();
        assert_eq!(good.tenants(), [TenantId::new(id)]);
        for bad in [json!(null), json!([]), json!("x"), json!([id, "x"]), json!({"id": id})] {
            assert!(grant(&rules, &json!({"groups": "ops", "tenant": bad})).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_harmless_and_never_another_ones() {
        let config = super::super::tests::config(Vec::new());
        let shown = |sub: &str| name(&config, &json!({"sub": sub})).unwrap();
        assert_eq!(shown("alice@example.com"), "oidc:alice@example.com");
        let (one, two) = (shown("auth0|1"), shown("auth0_1"));
        assert!(one.starts_with("oidc:auth0_1~") && two == "oidc:auth0_1", "{one} {two}");
        assert!(!shown("x\u{1b}[31m").contains('\u{1b}'));
        assert!(shown(&"x".repeat(500)).len() < 90);
        assert!(name(&config, &json!({})).is_err());
    }
}
