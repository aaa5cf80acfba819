//! Arguments of `store` and its subcommands.

use std::path::PathBuf;

use clap::Subcommand;
use rehome_app::Cursor;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::verification::Level;

use super::migration::{Yes, level};
use super::tenant::tenant;

/// `rehome store ...`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Check reachability, format, durability and clock, and list the role of each tenant.
    #[command(visible_aliases = ["ls", "status"])]
    Check {
        /// Only this store [default: all].
        #[arg(value_name = "ID")]
        id: Option<StoreId>,
    },
    /// Adopt a table of another library: install the guard, so that its tenants can be moved.
    ///
    /// Installs a separate schema and triggers on the table, and prints them. Rows and columns
    /// of the table do not change; `store release` removes everything.
    Adopt {
        /// The store.
        #[arg(value_name = "ID")]
        id: StoreId,
        /// Print what would be installed, and install nothing.
        #[arg(long)]
        dry_run: bool,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
    },
    /// Release an adopted table: remove the guard.
    ///
    /// Refused while a migration from or to the store runs, and while the guard still rejects writes of tenants
    /// that were moved away: without it, an old writer's rows would be accepted and lost.
    Release {
        /// The store.
        #[arg(value_name = "ID")]
        id: StoreId,
        /// Confirm that no process still writes tenants here that were moved away.
        #[arg(long, requires = "reason")]
        no_writers_left: bool,
        /// The reason, in one line; it is part of the log line about the release.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
    },
    /// Verify a store: each tenant's rows against the hash chain and the ledger.
    ///
    /// Read-only; needs no migration. Exit code 5 if rows are damaged; the first damage of each tenant is
    /// listed. Ctrl-C stops it and prints how to continue.
    #[command(after_help = "\
Examples:
  rehome store verify shared --rate 5000
  rehome store verify shared --level full --json \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706")]
    Verify(VerifyStore),
    /// Create a store that is new in the configuration.
    ///
    /// Refused for a store that held tenants: it is missing, not new.
    Create {
        /// The store.
        #[arg(value_name = "ID")]
        id: StoreId,
    },
    /// Cordon a store: keep new tenants and arrivals out of it. It continues to serve its tenants.
    Cordon {
        /// The store.
        #[arg(value_name = "ID")]
        id: StoreId,
        /// The reason, in one line.
        #[arg(long, value_name = "TEXT", visible_alias = "reason")]
        why: Option<String>,
    },
    /// Remove the cordon of a store.
    Uncordon {
        /// The store.
        #[arg(value_name = "ID")]
        id: StoreId,
    },
    /// Work with layouts: the mapping of columns in another library's table.
    #[command(subcommand)]
    Layout(LayoutCommand),
}

/// `rehome store layout ...`
#[derive(Debug, Subcommand)]
pub(crate) enum LayoutCommand {
    /// Check a layout file, and whether a table matches it.
    ///
    /// Without --url only the file is checked. With it: columns and types, keys, rights, triggers, and all
    /// rows (gaps, tenants that share a stream, duplicate ids). Writes nothing. Exit code 3 if the table
    /// cannot be adopted.
    #[command(after_help = "\
Examples:
  rehome store layout check orders.layout.toml
  rehome store layout check orders.layout.toml \\
      --url postgres://rehome@db/shop")]
    Check {
        /// The file, or the name of a built-in layout.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The database with the table.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// List the built-in layouts.
    #[command(visible_alias = "ls")]
    List,
    /// Print a built-in layout as a file.
    Show {
        /// The name of the layout.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Draft a layout from a table's columns and keys.
    ///
    /// Each key has a comment with the reason for its value. What could not be guessed starts with a question
    /// mark and is listed. Writes nothing.
    #[command(after_help = "\
Examples:
  rehome store layout guess postgres://rehome@db/shop events \\
      > events.layout.toml
  rehome store layout guess postgres://rehome@db/shop \\
      'app.Order Events'")]
    Guess {
        /// The database.
        #[arg(value_name = "URL")]
        url: String,
        /// The table: TABLE, or SCHEMA.TABLE; a name that contains a dot in double quotes.
        #[arg(value_name = "TABLE")]
        table: String,
    },
}

/// `rehome store verify`
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyStore {
    /// The store.
    #[arg(value_name = "ID")]
    pub(crate) id: StoreId,
    /// Only this tenant.
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    pub(crate) tenant: Option<TenantId>,
    /// count: rows of each stream against ledger and versions. hash: every row, its digest recomputed,
    /// up to the ledger's. full: both, and each stream once more by its index.
    #[arg(long, value_name = "LEVEL", default_value = "hash", value_parser = level)]
    pub(crate) level: Level,
    /// Maximum read rate, in events per second; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) rate: u32,
    /// Continue at the cursor that an interrupted run printed.
    #[arg(long, value_name = "TENANT:SEQ")]
    pub(crate) after: Option<Cursor>,
}
