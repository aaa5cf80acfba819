//! Names and identities: of stores, tenants, services, hooks, callers.

use rehome_domain::ids::{StoreId, TenantId};

use super::super::super::Headers;
use super::super::Shape;
use super::{Kind, list_of, one, text, text_of};
use crate::certificates::Named;
use crate::tokens::TokenHash;

/// The name of a store.
pub(in super::super) const fn store_id() -> Kind<StoreId> {
    text_of(
        || "a string".to_owned(),
        |raw, _| one(raw).parse().map_err(|problem| format!("is not valid: {problem}")),
    )
}

/// Headers of the requests.
pub(in super::super) const fn otlp_headers() -> Kind<Headers> {
    text_of(
        || "like \"name=value,name=value\"".to_owned(),
        |raw, _| super::super::super::otlp::headers(one(raw)),
    )
    .hidden()
}

/// In whose name they are sent.
pub(in super::super) const fn service_name() -> Kind<String> {
    text().also(|name| {
        let fits = !name.trim().is_empty() && !name.chars().any(char::is_control);
        if fits { Ok(()) } else { Err("must be a name like \"eventsource\"".to_owned()) }
    })
}

/// An alternative name in a certificate.
pub(in super::super) const fn alternative_name() -> Kind<Named> {
    text_of(
        || "a name like \"DNS:deploy.example\"".to_owned(),
        |raw, _| Named::parse(one(raw)).map_err(str::to_owned),
    )
}

/// The name of a hook.
pub(in super::super) const fn hook_name() -> Kind<String> {
    text().also(|name| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=64).contains(&name.len()) && name.chars().all(fits) {
            return Ok(());
        }
        Err("must be 1 to 64 letters, digits, \"-\", \"_\" or \".\"".to_owned())
    })
}

/// Tenants, by their ids.
pub(in super::super) const fn tenants() -> Kind<Vec<TenantId>> {
    list_of(|raw, _| {
        let tenants = raw.iter().map(|text| text.parse());
        tenants.collect::<Result<_, _>>().map_err(|_| "must be a UUID".to_owned())
    })
}

/// Stores, by their names.
pub(in super::super) const fn store_ids() -> Kind<Vec<StoreId>> {
    list_of(|raw, _| {
        let stores = raw.iter().map(|text| text.parse());
        stores.collect::<Result<_, _>>().map_err(|problem| format!("is not valid: {problem}"))
    })
}

/// The names of stores elsewhere, by their names here.
pub(in super::super) const fn store_names() -> Kind<Vec<(StoreId, String)>> {
    Kind {
        shape: Shape::Map,
        wanted: || "a table".to_owned(),
        parse: |raw, _| {
            let pairs = raw.chunks_exact(2).map(|pair| Ok((pair[0].parse()?, pair[1].clone())));
            pairs
                .collect::<Result<_, rehome_domain::ids::InvalidStoreId>>()
                .map_err(|problem| format!("is not valid: {problem}"))
        },
        also: |_| Ok(()),
        show: |raw, _| {
            let pairs = raw.chunks_exact(2).map(|pair| format!("{} = {}", pair[0], pair[1]));
            pairs.collect::<Vec<_>>().join(", ")
        },
    }
}

/// The hash of a token.
pub(in super::super) const fn token_hash() -> Kind<TokenHash> {
    text_of(
        || "a string".to_owned(),
        |raw, _| {
            let hash = one(raw).parse();
            hash.map_err(|()| "must be the 64 hexadecimal digits of a hash".to_owned())
        },
    )
    .hidden()
}
