//! Arguments of `import`.

use std::path::PathBuf;

use clap::Args;
use rehome_api::duration::Millis;
use rehome_domain::ids::{StoreId, TenantId};

use super::tenant::tenant;

/// The format of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FormatArg {
    /// One JSON object per line.
    Ndjson,
    /// One JSON array of objects.
    Json,
    /// Comma-separated values under a header.
    Csv,
}

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file; - for stdin.
    #[arg(value_name = "FILE|-", required_unless_present = "from", conflicts_with = "from")]
    pub(crate) file: Option<PathBuf>,
    /// The store to import into [default: the default store for new tenants, the present store for
    /// others].
    #[arg(long, value_name = "ID")]
    pub(crate) store: Option<StoreId>,
    /// Accept an input without events, which is otherwise an error.
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// Read and check the whole input; write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The format of the file [default: by its first character, or csv if its name ends in .csv].
    #[arg(long, value_name = "FORMAT", value_enum, conflicts_with = "from")]
    pub(crate) format: Option<FormatArg>,
    /// Import from this database: postgres://USER@HOST/DATABASE or sqlite:FILE.
    #[arg(long, value_name = "URL", help_heading = "From a table")]
    pub(crate) from: Option<String>,
    /// The query whose rows to import. Its columns are named for the parts of an event; see docs/importing.md.
    #[arg(
        long,
        value_name = "SQL",
        requires = "from",
        conflicts_with = "layout",
        help_heading = "From a table"
    )]
    pub(crate) query: Option<String>,
    /// The layout of the table to import: a name that `store layout list` shows, or a file.
    #[arg(long, value_name = "NAME|FILE", requires = "from", help_heading = "From a table")]
    pub(crate) layout: Option<PathBuf>,
    /// The tenant of all rows, for a table of one tenant.
    #[arg(long, value_name = "TENANT", value_parser = tenant, requires = "from", help_heading = "From a table")]
    pub(crate) tenant: Option<TenantId>,
    /// Continue with later rows. Ctrl-C finishes: it imports the present rows, compares both sides, and exits.
    #[arg(long, requires = "from", conflicts_with = "dry_run", help_heading = "From a table")]
    pub(crate) follow: bool,
    /// With --follow: finish when no row has arrived for this long, like 30s.
    #[arg(long, value_name = "DURATION", requires = "follow", help_heading = "From a table")]
    pub(crate) idle: Option<Millis>,
    /// A file that stores the position; a later run with the same file continues from there.
    #[arg(
        long,
        value_name = "FILE",
        requires = "from",
        conflicts_with = "dry_run",
        help_heading = "From a table"
    )]
    pub(crate) state: Option<PathBuf>,
}

/// Examples and the format, below the options.
pub(crate) const IMPORT_HELP: &str = "\
Fields of a line or an object, columns of CSV.
Required:
  tenant_id    UUID
  stream_type  text
  stream_id    text
  event_type   text, 1 to 256 bytes
  data         any JSON
Optional, and what stands for one that is left out:
  event_id     UUID; derived from stream and version,
               or from the line
  occurred_at  time as in RFC 3339; the time of the import
  metadata     JSON object; {}
  recorded_at  time as in RFC 3339; the time of the import
  version      whole number from 1, checked against the
               stream; any
  seq          not used; export writes it

Examples:
  rehome import --store shared events.ndjson.gz
  zcat events.ndjson.gz | rehome import --store shared -
  rehome import --dry-run events.csv
  rehome import --from postgres://app@db1/shop --follow \\
      --layout eventsource-py --state shop.state
  rehome import --from postgres://app@db1/shop \\
      --tenant acme --query 'SELECT id AS position,
      order_id AS stream_id, rev AS version,
      kind AS event_type, body AS data, at AS occurred_at
      FROM public.order_events'";
