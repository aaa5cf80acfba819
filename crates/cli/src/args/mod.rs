//! What can be said on the command line.

mod migration;
mod options;
mod tenant;
mod token;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use rehome_api::{ChecklistPhase, Time};
use rehome_app::Cursor;
use rehome_app::telemetry::LineLevel;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::verification::Level;
use rehome_monitoring::Settings;
use tenant::tenant;

use crate::commands::{PlainWriterArgs, QuickstartArgs};
pub(crate) use migration::{
    Changing, Goal, Look, MigrationCommand, OneMigration, Reason, Start, Verify,
};
pub(crate) use token::{CreateToken, TokenCommand};

/// Zero-downtime live migration of a tenant between event stores.
#[derive(Debug, Parser)]
#[command(name = "rehome", version, about, max_term_width = 100)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 bad usage, 3 refused in this state, 4 not found, 5 violations found.

Examples:
  rehome import --store shared events.ndjson.gz
  rehome plan --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 --to dedicated
  rehome migration start --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 --to dedicated
  rehome migration list
  REHOME_TOKEN=... rehome --server https://rehome.example:7411 migration list")]
pub(crate) struct Args {
    /// The configuration file [default: ./rehome.toml, then REHOME_* of the environment].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Act through this server, instead of on the stores [default: REHOME_SERVER, then client.url of the
    /// configuration]. Its token comes from REHOME_TOKEN or client.token_file.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Act on the stores themselves, also where a server is configured.
    #[arg(long, global = true, conflicts_with = "server")]
    pub(crate) local: bool,
    /// Print JSON: one document, or one per line for what goes on.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no remarks on stderr; errors only.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Log lines of this level and above, on stderr [default: info for serve, else warn].
    #[arg(long, global = true, value_name = "LEVEL", value_enum)]
    log_level: Option<LogLevel>,
    /// How log lines look [default: json with --json, else telemetry.log of the configuration].
    #[arg(long, global = true, value_name = "FORM", value_enum)]
    pub(crate) log: Option<LogForm>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// How much is logged: a server's lines are kept and searched, a command's are in the way.
    pub(crate) fn log_level(&self) -> LineLevel {
        let usual = match self.command {
            Command::Serve(_) => LogLevel::Info,
            _ => LogLevel::Warn,
        };
        match self.log_level.unwrap_or(usual) {
            LogLevel::Off => LineLevel::Off,
            LogLevel::Error => LineLevel::Error,
            LogLevel::Warn => LineLevel::Warn,
            LogLevel::Info => LineLevel::Info,
            LogLevel::Debug => LineLevel::Debug,
            LogLevel::Trace => LineLevel::Trace,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// What was done.
    Info,
    /// How it was done.
    Debug,
    /// Everything.
    Trace,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See a tenant move while it is written to, on stores in a folder.
    Quickstart(QuickstartArgs),
    /// Write events with plain SQL, as a process that knows nothing of rehome.
    #[command(hide = true)]
    PlainWriter(PlainWriterArgs),
    /// Bring events into a store, from NDJSON, packed with gzip or not.
    ///
    /// Importing again is no change. Nothing is reordered: a tenant's history ends before its first
    /// line that is not taken, the other tenants go on, and the lines are listed (exit code 1).
    #[command(after_help = "\
Examples:
  rehome import --store shared events.ndjson.gz
  zcat events.ndjson.gz | rehome import --store shared -")]
    Import {
        /// The store to import into [default: the default one for new tenants, and where each of
        /// the others lives].
        #[arg(long, value_name = "ID")]
        store: Option<StoreId>,
        /// Take an input without events for what it should be; otherwise it is an error.
        #[arg(long)]
        allow_empty: bool,
        /// The file; - for stdin.
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
    },
    /// Write a tenant's history as NDJSON, in its order.
    ///
    /// A file appears whole or not at all, and is packed if its name ends in .gz.
    #[command(after_help = "\
Examples:
  rehome export --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 history.ndjson.gz
  rehome export --store dedicated --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 - | head")]
    Export {
        /// Read what this store holds, whatever it is for the tenant [default: the store that has
        /// the authority, also if that changes meanwhile].
        #[arg(long, value_name = "ID")]
        store: Option<StoreId>,
        /// Whose history.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: TenantId,
        /// The file; - for stdout.
        #[arg(value_name = "FILE|-", default_value = "-")]
        file: PathBuf,
    },
    /// Answer applications and operators over HTTP, and work on migrations, until stopped.
    ///
    /// Listens on server.bind of the configuration. Any number of servers may share a control plane
    /// and stores on PostgreSQL. SIGTERM and Ctrl-C let it finish what it accepted; SIGHUP has it
    /// read tokens and certificate again.
    #[command(after_help = "\
Examples:
  rehome serve --config rehome.toml
  REHOME_SERVER_BIND=127.0.0.1:0 rehome serve --json")]
    Serve(Serve),
    /// Make, list, rotate and revoke tokens: who may do what through servers.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Look at stores, or make one.
    #[command(subcommand)]
    Store(StoreCommand),
    /// What a migration would meet and how long it would take; changes nothing.
    #[command(after_help = "\
Example:
  rehome plan --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 --to dedicated

Exits with 3 when something stands in the way.")]
    Plan {
        /// Whose history.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: TenantId,
        /// To which store.
        #[arg(long, value_name = "STORE")]
        to: StoreId,
    },
    /// How the migrations of the deployment are.
    ///
    /// What `GET /health/migration` of a server answers. Exits with 1 when unhealthy.
    Health,
    /// The monitoring guide's checklist, evaluated: each item passes, fails or is not known.
    ///
    /// What the tools under [monitoring] of the configuration say is asked of them. Exits with 1 when an
    /// item fails.
    #[command(after_help = "\
Examples:
  rehome checklist before
  rehome checklist after 0197f0a5-6f3c-7cc3-98c8-0c5a4d7d5a55 --json")]
    Checklist {
        /// Which: before, during, cutover or after.
        #[arg(value_name = "PHASE", value_parser = checklist)]
        phase: ChecklistPhase,
        /// The migration; not needed before one was started.
        #[arg(value_name = "ID")]
        id: Option<MigrationId>,
    },
    /// Start, steer and watch migrations.
    #[command(subcommand)]
    Migration(MigrationCommand),
    /// Look at a tenant, or remove a copy that it left behind.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Find tenants whose stores are ahead of a control plane that lost time.
    ///
    /// Shows what is found and changes nothing, unless --yes is said. Exits with 5 when something
    /// was found and nothing was changed.
    Recover {
        /// Only this tenant.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: Option<TenantId>,
        /// The store that has the authority, where the stores do not say it clearly.
        #[arg(long, value_name = "ID")]
        store: Option<StoreId>,
        /// Raise the control plane to what was found.
        #[arg(long)]
        yes: bool,
        /// Why.
        #[command(flatten)]
        why: Reason,
    },
    /// Check the logs of migrations, or hand them to another system.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// What Prometheus, Alertmanager and Grafana need to watch migrations.
    #[command(subcommand)]
    Monitoring(MonitoringCommand),
    /// How long a migration would take: from numbers alone, or by a probe.
    ///
    /// A probe reads a sample of the tenant's history, looks at how fast it grows and at how fast earlier
    /// migrations into that store went, and gives a range. It writes nothing anywhere.
    #[command(after_help = "\
Examples:
  rehome estimate --events 1500000 --rate 10000
  rehome estimate --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 --to dedicated --probe")]
    Estimate(Estimate),
}

/// `rehome estimate ...`
#[derive(Debug, clap::Args)]
pub(crate) struct Estimate {
    /// Probe this tenant.
    #[arg(long, value_name = "TENANT", value_parser = tenant, requires = "to", requires = "probe")]
    pub(crate) tenant: Option<TenantId>,
    /// To which store it would go.
    #[arg(long, value_name = "STORE", requires = "tenant")]
    pub(crate) to: Option<StoreId>,
    /// Measure instead of being told.
    #[arg(long, requires = "tenant")]
    pub(crate) probe: bool,
    /// Events to copy.
    #[arg(long, value_name = "N", required_unless_present = "probe", conflicts_with = "probe")]
    pub(crate) events: Option<u64>,
    /// Copied per second [default: 10000].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) rate: Option<f64>,
    /// Written by the tenant per second meanwhile [default: 0].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) write_rate: Option<f64>,
    /// Lag, in events, when mirroring begins [default: 100].
    #[arg(long, value_name = "N")]
    pub(crate) lag: Option<u64>,
    /// Seconds of pause [default: 5].
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) pause: Option<f64>,
    /// Factor on the sum [default: 1.5].
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub(crate) buffer: Option<f64>,
}

/// `rehome serve`
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Serve {
    /// Listen where others reach it without TLS. Gives up that nobody on the way can read tokens and
    /// events: only for where a proxy in front has TLS.
    #[arg(long)]
    pub(crate) without_tls: bool,
    /// Listen where others reach it without tokens. Gives up all protection: whoever reaches the
    /// address reads and moves every tenant.
    #[arg(long)]
    pub(crate) without_tokens: bool,
}

/// `rehome monitoring ...`
#[derive(Debug, Subcommand)]
pub(crate) enum MonitoringCommand {
    /// Write Prometheus rules, Grafana dashboards and examples of how the tools find them.
    ///
    /// Rules and dashboards are written anew. An example that is there already is left as it is.
    #[command(after_help = after_export())]
    Export {
        /// Below which folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// When alerts fire, instead of what `[monitoring.thresholds]` or the default says; may be
        /// said more than once.
        #[arg(long = "threshold", value_name = "NAME=VALUE")]
        thresholds: Vec<String>,
        /// Where the runbook is, instead of what `monitoring.runbook_url` says; the alerts add
        /// `#` and their name.
        #[arg(long, value_name = "URL")]
        runbook_url: Option<String>,
    },
}

/// The thresholds, their defaults and what they mean.
fn after_export() -> String {
    let thresholds = Settings::default().thresholds.list();
    let lines = thresholds.iter().map(|known| {
        let set = format!("{}={}", known.name, known.value);
        format!("  {set:<28}{}", known.help)
    });
    format!(
        "Thresholds and their defaults:\n{}\n\nExample:\n  rehome monitoring export /etc/rehome/monitoring --threshold sync_lag_events=500",
        lines.collect::<Vec<_>>().join("\n")
    )
}

/// `rehome audit ...`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that every entry of every log is as it was recorded.
    ///
    /// Each entry has a hash over what it says and the entry before. Exits with 5 when a log is broken, and
    /// names the first bad entry of each. Entries that are missing at the end of a log leave no trace in it:
    /// compare with what was exported.
    Verify,
    /// Write the logs as JSON lines, an entry each, for a SIEM.
    ///
    /// A line is known by its migration and its index. With audit.key_file each has a signature. Exits
    /// with 5 when a log is broken.
    #[command(after_help = "\
Examples:
  rehome audit export > audit.ndjson
  rehome audit export --follow --after 2026-01-01T00:00:00Z | vector")]
    Export {
        /// Go on with what is recorded, until stopped.
        #[arg(long)]
        follow: bool,
        /// Only what was recorded after this time (RFC 3339).
        #[arg(long, value_name = "TIME")]
        after: Option<Time>,
    },
}

/// `rehome store ...`
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Reachable, format, durability, clock, role per tenant.
    Check {
        /// Only this one [default: all].
        #[arg(value_name = "ID")]
        id: Option<StoreId>,
    },
    /// Put the guard beside a table of another library, so that its tenants can be moved.
    ///
    /// Shows what it installs and installs it: a schema of its own, and triggers on the table. The table's
    /// rows and columns stay as they are, and `store release` takes everything out again.
    Adopt {
        /// Which.
        #[arg(value_name = "ID")]
        id: StoreId,
        /// Only show what would be installed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take the guard out again.
    ///
    /// Refused while a migration from or to the store is under way, and while tenants that live elsewhere
    /// are still refused there: an old writer's rows would be taken and lost.
    Release {
        /// Which.
        #[arg(value_name = "ID")]
        id: StoreId,
        /// No process is left that writes a tenant here which lives elsewhere.
        #[arg(long, requires = "reason")]
        no_writers_left: bool,
        /// Why, in one line; it stands in the log line about the release.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Check what a store holds: each tenant's rows against their chain and its ledger.
    ///
    /// Reads only, and needs no migration. Exits with 5 when something is damaged, with the first damage
    /// of each tenant. Ctrl-C stops it and prints how to go on.
    #[command(after_help = "\
Examples:
  rehome store verify shared --rate 5000
  rehome store verify shared --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 --level full --json")]
    Verify(VerifyStore),
    /// Make the file of a store that is new in the configuration.
    ///
    /// Refused for a store that held tenants: its file is lost, not new.
    Create {
        /// Which.
        #[arg(value_name = "ID")]
        id: StoreId,
    },
    /// Which column of another library's table is what.
    #[command(subcommand)]
    Layout(LayoutCommand),
}

/// `rehome store layout ...`
#[derive(Debug, Subcommand)]
pub(crate) enum LayoutCommand {
    /// Read the file of a layout, and look whether a table goes with it.
    ///
    /// Without --url only the file is read. With it: the columns and their types, the keys, rights and triggers,
    /// and all rows (gaps, tenants that share a stream, ids that are there twice). Writes nothing. Exits with 3
    /// when something stands in the way of adopting the table.
    #[command(after_help = "\
Examples:
  rehome store layout check orders.layout.toml
  rehome store layout check orders.layout.toml --url postgres://rehome@db/shop")]
    Check {
        /// The file, or the name of a layout that comes with rehome.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The database with the table.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// The layouts that come with rehome.
    List,
    /// A layout that comes with rehome, as a file.
    Show {
        /// Which.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Draft a layout from a table's columns and keys.
    ///
    /// Every key of the file says why it has its value. What could not be guessed has a name that begins with
    /// a question mark, and is listed. Writes nothing.
    #[command(after_help = "\
Examples:
  rehome store layout guess postgres://rehome@db/shop events > events.layout.toml
  rehome store layout guess postgres://rehome@db/shop 'app.Order Events'")]
    Guess {
        /// The database.
        #[arg(value_name = "URL")]
        url: String,
        /// The table: TABLE, or SCHEMA.TABLE; a name with a dot in it in double quotes.
        #[arg(value_name = "TABLE")]
        table: String,
    },
}

/// `rehome store verify`
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyStore {
    /// Which.
    #[arg(value_name = "ID")]
    pub(crate) id: StoreId,
    /// Only this tenant.
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    pub(crate) tenant: Option<TenantId>,
    /// count: rows of each stream against ledger and versions. hash: every row, its digest recomputed,
    /// up to the ledger's. full: both, and each stream once more by its index.
    #[arg(long, value_name = "LEVEL", default_value = "hash", value_parser = migration::level)]
    pub(crate) level: Level,
    /// Read at most so many events per second; 0: as fast as it goes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) rate: u32,
    /// Go on where a look that was cut off came to.
    #[arg(long, value_name = "TENANT:SEQ")]
    pub(crate) after: Option<Cursor>,
}

/// `rehome tenant ...`
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Where a tenant is, and what every store holds of it.
    Show {
        /// Which.
        #[arg(value_name = "TENANT", value_parser = tenant, required_unless_present = "tenant")]
        id: Option<TenantId>,
        /// The same, as the other commands have it.
        #[arg(long, value_name = "TENANT", value_parser = tenant, conflicts_with = "id")]
        tenant: Option<TenantId>,
    },
    /// Remove the copy that a tenant left behind in a store.
    ///
    /// Never removes from the store that has the authority, nor what a migration or an open
    /// rollback window may need.
    Purge {
        /// Whose copy.
        #[arg(value_name = "TENANT", value_parser = tenant, required_unless_present = "tenant")]
        id: Option<TenantId>,
        /// The same, as the other commands have it.
        #[arg(long, value_name = "TENANT", value_parser = tenant, conflicts_with = "id")]
        tenant: Option<TenantId>,
        /// From which store.
        #[arg(long, value_name = "ID")]
        store: StoreId,
        /// Give up the return that the rollback window holds open.
        #[arg(long)]
        close_window: bool,
        /// Why.
        #[command(flatten)]
        why: Reason,
    },
    /// What a reader's position in one store's table is in another's.
    ///
    /// For checkpoints of your own projections, after a move between tables of another library. A reader
    /// that goes on from there skips no event; it may be given some again.
    Position {
        /// Whose events.
        #[arg(value_name = "TENANT", value_parser = tenant, required_unless_present = "tenant")]
        id: Option<TenantId>,
        /// The same, as the other commands have it.
        #[arg(long, value_name = "TENANT", value_parser = tenant, conflicts_with = "id")]
        tenant: Option<TenantId>,
        /// The position up to which the reader has read everything.
        #[arg(long, value_name = "N", allow_hyphen_values = true)]
        position: i64,
        /// In which store's table.
        #[arg(long, value_name = "STORE")]
        from: StoreId,
        /// In which store's table it goes on.
        #[arg(long, value_name = "STORE")]
        to: StoreId,
    },
}

fn checklist(text: &str) -> Result<ChecklistPhase, String> {
    ChecklistPhase::parse(text)
        .ok_or_else(|| "the checklists are before, during, cutover and after".to_owned())
}
