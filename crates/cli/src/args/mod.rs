//! Command-line arguments.

mod drain;
#[cfg(test)]
mod mentioned;
mod migration;
mod options;
mod store;
mod tenant;
mod token;
mod transfer;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use rehome_api::{ChecklistPhase, Time};
use rehome_dashboards::Settings;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_observe::telemetry::LineLevel;

use crate::commands::{PlainWriterArgs, QuickstartArgs};
pub(crate) use drain::{Asked, DrainCommand, Tune};
pub(crate) use migration::{
    Changing, Goal, Look, MigrationCommand, OneMigration, Reason, Start, Verify, Yes,
};
pub(crate) use store::{LayoutCommand, StoreCommand, VerifyStore};
pub(crate) use tenant::TenantCommand;
use tenant::tenant;
pub(crate) use token::{CreateToken, TokenCommand};
use transfer::IMPORT_HELP;
pub(crate) use transfer::{FormatArg, ImportArgs};

/// Where help lists the options of every command: below those of the command itself.
const GLOBAL: &str = "Options of every command";

/// Zero-downtime live migration of a tenant between event stores.
#[derive(Debug, Parser)]
#[command(name = "rehome", version = env!("REHOME_BUILD"), about, max_term_width = 100)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 bad usage,
  3 refused in this state, 4 not found, 5 violations found.

Examples:
  rehome import --store shared events.ndjson.gz
  rehome plan --to dedicated \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706
  rehome migration start --to dedicated \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706
  rehome migration list
  REHOME_TOKEN=... rehome migration list \\
      --server https://rehome.example:7411")]
pub(crate) struct Args {
    /// The configuration file [default: ./rehome.toml, then REHOME_* of the environment].
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Send requests to this server instead of opening the stores [default: REHOME_SERVER, then client.url of the
    /// configuration]. Its token comes from REHOME_TOKEN or client.token_file.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Open the stores directly, even where a server is configured.
    #[arg(long, global = true, help_heading = GLOBAL, conflicts_with = "server")]
    pub(crate) local: bool,
    /// Print JSON: one document, or one per line for commands that follow something.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Print no progress and no remarks on stderr, only errors.
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// Write log lines of this level and above to stderr [default: info for serve, else warn].
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "LEVEL", value_enum)]
    log_level: Option<LogLevel>,
    /// Format of log lines [default: json with --json, else telemetry.log of the configuration].
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FORM", value_enum)]
    pub(crate) log: Option<LogForm>,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// The log level: `info` for a server, whose lines are stored and searched; `warn` for a command.
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

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// Human-readable.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// Log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Nothing.
    Off,
    /// Errors.
    Error,
    /// Also warnings.
    Warn,
    /// Also completed actions.
    Info,
    /// Also details.
    Debug,
    /// Everything.
    Trace,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Demonstrate a migration: move a tenant under load, on stores in a folder.
    Quickstart(QuickstartArgs),
    /// Write a commented configuration file, and create the control plane and the stores that it names.
    ///
    /// Refuses to overwrite a file. Every key that can be set is in it, as a comment.
    #[command(after_help = "\
Examples:
  rehome init
  rehome --config /etc/rehome.toml init \\
      --control-plane postgres://rehome@db/rehome \\
      --store shared=postgres://rehome@db/shared \\
      --store dedicated=postgres://rehome@db2/dedicated")]
    Init(Init),
    /// Show the configuration in effect, or check it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write events with plain SQL, as a process that does not use rehome.
    #[command(hide = true)]
    PlainWriter(PlainWriterArgs),
    /// Import events from a file or from a table of another program.
    ///
    /// A file is NDJSON, a JSON array or CSV with a header, optionally gzipped. An import is idempotent.
    /// It never reorders: when a line of a tenant is refused, none of its later lines is imported; the other
    /// tenants continue, and the refused lines are listed (exit code 1). After an import from a table both sides are
    /// compared (exit code 5 if they differ).
    #[command(after_help = IMPORT_HELP)]
    Import(Box<ImportArgs>),
    /// Export a tenant's history as NDJSON, in order.
    ///
    /// The file is written completely or not at all. A name that ends in .gz is gzipped.
    #[command(after_help = "\
Examples:
  rehome export history.ndjson.gz \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706
  rehome export - --store dedicated \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 | head")]
    Export {
        /// Read this store, even if it is not the tenant's authority [default: the store that has the
        /// authority, also if it changes during the export].
        #[arg(long, value_name = "ID")]
        store: Option<StoreId>,
        /// The tenant.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: TenantId,
        /// Output file; - writes to stdout.
        #[arg(value_name = "FILE|-", default_value = "-")]
        file: PathBuf,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
    },
    /// Serve applications and operators over HTTP and run migrations, until stopped.
    ///
    /// Listens on server.bind of the configuration. Any number of servers may share a control plane
    /// and stores on PostgreSQL. SIGTERM and Ctrl-C stop it after the requests that
    /// it has accepted; SIGHUP reloads tokens and certificate.
    #[command(after_help = "\
Examples:
  rehome serve --config rehome.toml
  REHOME_SERVER_BIND=127.0.0.1:0 rehome serve --json")]
    Serve(Serve),
    /// Create, list, rotate and revoke access tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check, create, adopt and verify stores.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Check whether a migration is possible and estimate its duration; changes nothing.
    #[command(after_help = "\
Example:
  rehome plan --to dedicated \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706

Exits with 3 when something stands in the way.")]
    Plan {
        /// The tenant.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: TenantId,
        /// The target store.
        #[arg(long, value_name = "STORE")]
        to: StoreId,
    },
    /// Report the health of all migrations.
    ///
    /// The same report as `GET /health/migration`. Exit code 1 if unhealthy.
    #[command(visible_alias = "status")]
    Health,
    /// Evaluate a monitoring checklist: each item passes, fails or is unknown.
    ///
    /// Queries the tools under [monitoring] of the configuration. Exit code 1 if an item fails.
    #[command(after_help = "\
Examples:
  rehome checklist before
  rehome checklist after --json \\
      0197f0a5-6f3c-7cc3-98c8-0c5a4d7d5a55")]
    Checklist {
        /// The phase: before, during, cutover or after.
        #[arg(value_name = "PHASE", value_parser = checklist)]
        phase: ChecklistPhase,
        /// The migration; optional for the phase before.
        #[arg(value_name = "ID")]
        id: Option<MigrationId>,
    },
    /// Start, control and watch migrations.
    #[command(subcommand)]
    Migration(MigrationCommand),
    /// Empty stores: move all their tenants, many at a time.
    #[command(subcommand)]
    Drain(DrainCommand),
    /// List, show, pin and remove tenants, or purge a copy that one left behind.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Recover after a backup was restored, or a failover lost commits: find tenants whose stores are newer than the
    /// control plane, or have lost events.
    ///
    /// Reports and changes nothing without --yes. Exit code 5 if it found something and changed nothing. With
    /// --tenant, also finds logs of migrations that differ from what stores have seen; with --yes, the stores
    /// accept them as they are. A tenant whose store has lost events is not served until they are restored, or,
    /// with --accept-loss, it continues from --store with the events there.
    Recover {
        /// Only this tenant.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: Option<TenantId>,
        /// The store that has the authority, where the stores leave it open.
        #[arg(long, value_name = "ID")]
        store: Option<StoreId>,
        /// Update the control plane with the findings.
        #[arg(long)]
        yes: bool,
        /// Continue from --store, although events of the tenant are lost.
        #[arg(long, requires_all = ["tenant", "store"])]
        accept_loss: bool,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
    /// Verify or export the audit logs of migrations.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Export rules and dashboards for Prometheus and Grafana.
    #[command(subcommand)]
    Monitoring(MonitoringCommand),
    /// Print the completions of a shell.
    #[command(after_help = "\
Examples:
  rehome completions bash > /etc/bash_completion.d/rehome
  rehome completions zsh > ~/.zfunc/_rehome")]
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL", value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write man pages, one for each command, into a folder.
    #[command(after_help = "\
Example:
  rehome man /usr/local/share/man/man1")]
    Man {
        /// The folder; created if missing.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Estimate the duration of a migration, from numbers or by a probe.
    ///
    /// A probe reads a sample of the tenant's history, its growth rate, and the rates of earlier migrations
    /// into that store, and reports a range. It writes nothing.
    #[command(after_help = "\
Examples:
  rehome estimate --events 1500000 --rate 10000
  rehome estimate --probe --to dedicated \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706")]
    Estimate(Estimate),
}

/// `rehome init ...`
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The control plane: sqlite:PATH (relative to the file) or postgres://USER@HOST/DATABASE.
    #[arg(long, value_name = "URL", default_value = "sqlite:control.db")]
    pub(crate) control_plane: String,
    /// A store; can be repeated. The first is the default for new tenants.
    #[arg(long = "store", value_name = "ID=URL", default_value = "main=sqlite:main.db")]
    pub(crate) stores: Vec<String>,
}

/// `rehome config ...`
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every value in effect and where it comes from: default, file or environment. Secrets are
    /// hidden.
    Show,
    /// List every mistake in the file and in the environment; exit code 2 if there are any.
    Check,
}

/// `rehome estimate ...`
#[derive(Debug, clap::Args)]
pub(crate) struct Estimate {
    /// Probe this tenant.
    #[arg(long, value_name = "TENANT", value_parser = tenant, requires = "to", requires = "probe")]
    pub(crate) tenant: Option<TenantId>,
    /// The target store.
    #[arg(long, value_name = "STORE", requires = "tenant")]
    pub(crate) to: Option<StoreId>,
    /// Measure instead of using given numbers.
    #[arg(long, requires = "tenant")]
    pub(crate) probe: bool,
    /// Events to copy.
    #[arg(long, value_name = "N", required_unless_present = "probe", conflicts_with = "probe")]
    pub(crate) events: Option<u64>,
    /// Copy rate, in events per second [default: 10000].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) rate: Option<f64>,
    /// Write rate of the tenant, in events per second [default: 0].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) write_rate: Option<f64>,
    /// Lag, in events, when mirroring starts [default: 100].
    #[arg(long, value_name = "N")]
    pub(crate) lag: Option<u64>,
    /// Write pause, in seconds [default: 5].
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) pause: Option<f64>,
    /// Safety factor on the sum [default: 1.5].
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub(crate) buffer: Option<f64>,
}

/// `rehome serve`
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Serve {
    /// Allow unencrypted traffic, tokens and events included, on a non-loopback address: only
    /// behind a proxy that terminates TLS.
    #[arg(long)]
    pub(crate) without_tls: bool,
    /// Allow access without tokens on a non-loopback address: every client can read and move
    /// every tenant.
    #[arg(long)]
    pub(crate) without_tokens: bool,
}

/// `rehome monitoring ...`
#[derive(Debug, Subcommand)]
pub(crate) enum MonitoringCommand {
    /// Write Prometheus rules, Grafana dashboards and example configurations.
    ///
    /// Overwrites rules and dashboards. Keeps examples that exist.
    #[command(after_help = after_export())]
    Export {
        /// Output folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Override a threshold of `[monitoring.thresholds]`; can be repeated.
        #[arg(long = "threshold", value_name = "NAME=VALUE")]
        thresholds: Vec<String>,
        /// Override `monitoring.runbook_url`; alerts link to it with `#` and their name.
        #[arg(long, value_name = "URL")]
        runbook_url: Option<String>,
        /// File with a token of the role `metrics`, for Prometheus to send; prometheus.yml names it.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
}

/// The thresholds, their defaults and their meaning.
fn after_export() -> String {
    let thresholds = Settings::default().thresholds.list();
    let lines = thresholds
        .iter()
        .map(|known| format!("  {}={}\n      {}", known.name, known.value, known.help));
    format!(
        "Thresholds and their defaults:\n{}\n\nExample:\n  rehome monitoring export /etc/rehome/monitoring \\\n      \
         --threshold sync_lag_events=500",
        lines.collect::<Vec<_>>().join("\n")
    )
}

/// `rehome audit ...`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify the hash chain of every log.
    ///
    /// Each entry has a hash of its content and of the entry before. Exit code 5 if a log is broken; the
    /// first invalid entry of each is listed. What is missing at the end of a log, or was written anew, is
    /// found by what route rows and the stores of the migration have seen.
    Verify,
    /// Export the logs as JSON lines, one per entry, for a SIEM.
    ///
    /// A line is identified by migration and index. With audit.key_file each line is signed. Exit code 5 if
    /// a log is broken.
    #[command(after_help = "\
Examples:
  rehome audit export > audit.ndjson
  rehome audit export --follow \\
      --after 2026-01-01T00:00:00Z | vector")]
    Export {
        /// Follow: continue with new entries until stopped.
        #[arg(long)]
        follow: bool,
        /// Only entries recorded after this time (RFC 3339).
        #[arg(long, value_name = "TIME")]
        after: Option<Time>,
    },
}

fn checklist(text: &str) -> Result<ChecklistPhase, String> {
    ChecklistPhase::parse(text)
        .ok_or_else(|| "the checklists are before, during, cutover and after".to_owned())
}
