//! Arguments of `tenant`, and a tenant as people type it: by its UUID, or by its name in the table of another library.

use clap::Subcommand;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::layout::tenant_of;
use rehome_domain::migration::Phase;

use super::migration::{Reason, Yes, phase};

/// `rehome tenant ...`
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Show where a tenant is, and what every store has of it.
    #[command(visible_alias = "status")]
    Show {
        /// The tenant.
        #[arg(value_name = "TENANT", value_parser = tenant, required_unless_present = "tenant")]
        id: Option<TenantId>,
        /// The tenant, as an option.
        #[arg(long, value_name = "TENANT", value_parser = tenant, conflicts_with = "id")]
        tenant: Option<TenantId>,
    },
    /// List tenants in the order of their ids.
    #[command(visible_alias = "ls")]
    List {
        /// Only tenants of this store.
        #[arg(long, value_name = "ID")]
        store: Option<StoreId>,
        /// Only those whose last migration is in this state.
        #[arg(long, value_name = "STATE", value_parser = phase)]
        state: Option<Phase>,
        /// Only those whose ids begin so, or whose name this is.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only pinned tenants.
        #[arg(long)]
        pinned: bool,
        /// Maximum number of results.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Pin a tenant: no drain moves it.
    Pin {
        /// The tenant.
        #[arg(value_name = "TENANT", value_parser = tenant)]
        tenant: TenantId,
        /// The reason, in one line.
        #[arg(long, value_name = "TEXT", visible_alias = "reason")]
        why: Option<String>,
    },
    /// Unpin a tenant.
    Unpin {
        /// The tenant.
        #[arg(value_name = "TENANT", value_parser = tenant)]
        tenant: TenantId,
    },
    /// Purge the copy that a tenant left behind in a store.
    ///
    /// Never purges the authority, nor a copy that a migration or an open rollback window needs.
    Purge {
        /// The tenant.
        #[arg(value_name = "TENANT", value_parser = tenant, required_unless_present = "tenant")]
        id: Option<TenantId>,
        /// The tenant, as an option.
        #[arg(long, value_name = "TENANT", value_parser = tenant, conflicts_with = "id")]
        tenant: Option<TenantId>,
        /// The store to purge.
        #[arg(long, value_name = "ID")]
        store: StoreId,
        /// Close the rollback window: the tenant cannot return afterwards.
        #[arg(long)]
        close_window: bool,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
    /// Remove a tenant with its whole history, for example to import it again.
    ///
    /// Afterwards it is unknown; its next import or append creates it anew. Only a tenant without a migration, a
    /// rollback window or an old copy can be removed. If events are appended meanwhile, nothing is removed.
    Remove {
        /// The tenant.
        #[arg(value_name = "TENANT", value_parser = tenant)]
        tenant: TenantId,
        /// The number of events that it has, as a confirmation: see --dry-run.
        #[arg(
            long,
            value_name = "N",
            required_unless_present = "dry_run",
            conflicts_with = "dry_run"
        )]
        events: Option<u64>,
        /// Change nothing; show what would be removed.
        #[arg(long)]
        dry_run: bool,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
    /// Remove the guard of a tenant whose events are in a table of another library.
    ///
    /// Its rows stay, and can be changed and deleted again. Its events then have no numbers: they cannot be read
    /// through rehome until a migration starts, which guards the tenant again and numbers all rows anew.
    Unguard {
        /// The tenant.
        #[arg(value_name = "TENANT", value_parser = tenant, required_unless_present = "tenant")]
        id: Option<TenantId>,
        /// The tenant, as an option.
        #[arg(long, value_name = "TENANT", value_parser = tenant, conflicts_with = "id")]
        tenant: Option<TenantId>,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
    /// Copy a tenant's checkpoints to another store's table.
    ///
    /// Copies the rows of tables that the layout lists with a tenant and a position
    /// ([[beside]] with kind = "checkpoints", tenant and position). Each gets a translated position that skips no
    /// event and may repeat some. A row that is already as far stays.
    Checkpoints {
        /// The tenant.
        #[arg(value_name = "TENANT", value_parser = tenant, required_unless_present = "tenant")]
        id: Option<TenantId>,
        /// The tenant, as an option.
        #[arg(long, value_name = "TENANT", value_parser = tenant, conflicts_with = "id")]
        tenant: Option<TenantId>,
        /// The old store.
        #[arg(long, value_name = "STORE")]
        from: StoreId,
        /// The new store.
        #[arg(long, value_name = "STORE")]
        to: StoreId,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
    /// Translate a reader's position in one store's table to another's.
    ///
    /// For checkpoints of projections that read a table directly, after its tenant was moved. A reader that
    /// continues there skips no event and may read some again.
    Position {
        /// The tenant.
        #[arg(value_name = "TENANT", value_parser = tenant, required_unless_present = "tenant")]
        id: Option<TenantId>,
        /// The tenant, as an option.
        #[arg(long, value_name = "TENANT", value_parser = tenant, conflicts_with = "id")]
        tenant: Option<TenantId>,
        /// The position up to which the reader has read everything.
        #[arg(long, value_name = "N", allow_hyphen_values = true)]
        position: i64,
        /// The store of that position.
        #[arg(long, value_name = "STORE")]
        from: StoreId,
        /// The store to continue in.
        #[arg(long, value_name = "STORE")]
        to: StoreId,
    },
}

/// A text of this length, with only the characters of a UUID, is meant to be one.
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
