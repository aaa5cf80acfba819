//! A tenant as people type it: by its UUID, or by its name in the table of another library.

use rehome_domain::ids::TenantId;
use rehome_domain::layout::tenant_of;

/// So long, and all of a UUID's signs: it was meant to be one.
const LIKE_A_UUID: usize = 30;

/// The tenant of that UUID or name.
pub(crate) fn tenant(text: &str) -> Result<TenantId, String> {
    let meant_as_uuid = text.len() >= LIKE_A_UUID
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    match text.parse() {
        Ok(id) => Ok(id),
        Err(error) if meant_as_uuid => Err(format!("{error}")),
        Err(_) if text.trim().is_empty() => Err("a tenant has a UUID or a name".to_owned()),
        Err(_) => Ok(tenant_of(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::tenant;

    #[test]
    fn a_uuid_is_itself_a_name_is_derived_and_a_misspelt_uuid_is_refused() {
        let uuid = "7a000000-0000-4000-8000-000000000001";
        assert_eq!(tenant(uuid).unwrap().to_string(), uuid);
        // docs/layouts.md: the same in every store, and so in every version.
        let acme = "b04409ee-9eb2-564d-8018-641e564ae375";
        assert_eq!(tenant("acme").unwrap().to_string(), acme);
        assert_eq!(tenant("cafe").unwrap(), tenant("cafe").unwrap());
        assert!(tenant("7a000000-0000-4000-8000-00000000000").is_err());
        assert!(tenant(" ").is_err());
    }
}
