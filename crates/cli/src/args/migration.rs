//! `rehome migration ...`

use super::tenant::tenant;
use clap::{Args, Subcommand};
use rehome_api::duration::Millis;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::migration::Phase;
use rehome_domain::verification::Level;

use super::options::OptionFlags;

/// `rehome migration ...`
#[derive(Debug, Subcommand)]
pub(crate) enum MigrationCommand {
    /// Migrate a tenant to another store while it accepts writes.
    ///
    /// The migration runs in this process until the tenant is in the target, or until it needs an
    /// operator. Ctrl-C stops the work, never the tenant; `migration resume` continues it. With a server,
    /// the migration runs there and the command returns once it is started, unless --wait is given. Options that are not
    /// given have the values of [migration] in the configuration.
    #[command(after_help = "\
Examples:
  rehome migration start --to dedicated \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706
  rehome migration start --to dedicated \\
      --copy-rate-max 2000 --rollback-window 7d \\
      --cutover at 2024-06-15T02:00:00Z \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706")]
    Start(Box<Start>),
    /// List migrations, newest first.
    #[command(visible_alias = "ls")]
    List {
        /// Only migrations in this state.
        #[arg(long, value_name = "STATE", value_parser = phase)]
        state: Option<Phase>,
        /// Only migrations of this tenant.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: Option<TenantId>,
        /// Only migrations of tenants whose ids begin so, or whose name this is.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only migrations from or to this store.
        #[arg(long, value_name = "ID")]
        store: Option<StoreId>,
        /// Only migrations that need you: ready for a manual cutover, paused, failed, or with an open violation.
        #[arg(long)]
        needs_you: bool,
        /// Maximum number of results.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Show a migration.
    #[command(visible_alias = "status")]
    Show(OneMigration),
    /// Watch a migration until it ends.
    Watch(OneMigration),
    /// Show the log of a migration.
    Log(Look),
    /// Pause the work; writes continue at the source.
    Pause(Changing),
    /// Resume a paused migration, or one whose process has died.
    Resume {
        /// The migration.
        #[command(flatten)]
        migration: Changing,
        /// After the cutover, keep replicating to the old source until the rollback window ends.
        #[arg(long)]
        keep_window: bool,
    },
    /// Drive every migration that no other process drives, until stopped.
    ///
    /// For a long-running process without a server (a server does the same). It takes over from processes
    /// that died or hang. It does not touch paused and failed migrations.
    Drive,
    /// Request the cutover and wait for it, or withdraw it before it begins.
    Cutover {
        /// The migration.
        #[command(flatten)]
        migration: Changing,
        /// Withdraw the cutover: none begins until one is requested again. Refused once it has begun.
        #[arg(long)]
        withdraw: bool,
    },
    /// Abort a migration before its cutover; the tenant stays at the source.
    Abort {
        /// The migration.
        #[command(flatten)]
        migration: Changing,
        /// Also purge the copy in the target.
        #[arg(long)]
        purge_target: bool,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
    },
    /// Repair the copy after a verification or the read-back found violations.
    ///
    /// Removes the copy from the damage on, copies again and verifies; writes continue at the source.
    /// Damage in the source itself cannot be repaired this way and is reported. Exit code 5 if violations
    /// are found again.
    Repair(Changing),
    /// Acknowledge a failed migration.
    ///
    /// Health checks and alerts no longer report it. The tenant stays where it is; `migration abort` cleans
    /// up, with or without this.
    Acknowledge(Changing),
    /// Record the baseline with which the migration is compared afterwards; replaces an earlier one.
    ///
    /// Records events per second over the window, and the append latency if this process or the configured
    /// Prometheus knows it. Each start records one, of the last minute.
    Baseline {
        /// The migration.
        #[command(flatten)]
        migration: OneMigration,
        /// Length of the window.
        #[arg(long, value_name = "DURATION", default_value = "30s")]
        window: Millis,
        /// Show the recorded baseline.
        #[arg(long, conflicts_with = "window")]
        show: bool,
    },
    /// Compare the two stores of a migration.
    ///
    /// Exit code 5 if violations are found.
    Verify(Verify),
    /// Change options while a migration runs.
    ///
    /// What is not given stays as it is.
    #[command(after_help = "\
Example:
  rehome migration tune --copy-rate-max 500 \\
      0197f0a5-6f3c-7cc3-98c8-0c5a4d7d5a55")]
    Tune {
        /// The migration.
        #[command(flatten)]
        migration: Changing,
        /// The options to change.
        #[command(flatten)]
        options: Box<OptionFlags>,
    },
    /// Move the tenant back, within the rollback window of its migration.
    Return {
        /// The migration to undo.
        #[command(flatten)]
        migration: Changing,
        /// Options of the return.
        #[command(flatten)]
        goal: Goal,
        /// Options of the migration.
        #[command(flatten)]
        options: Box<OptionFlags>,
    },
}

/// `rehome migration start ...`
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The tenant.
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    pub(crate) tenant: TenantId,
    /// The target store.
    #[arg(long, value_name = "STORE")]
    pub(crate) to: StoreId,
    /// What to wait for.
    #[command(flatten)]
    pub(crate) goal: Goal,
    /// The reason.
    #[command(flatten)]
    pub(crate) why: Reason,
    /// Options of the migration.
    #[command(flatten)]
    pub(crate) options: OptionFlags,
}

/// When the command returns.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Goal {
    /// Wait for the end. Without a server the command always waits; with one, only with this option.
    #[arg(long)]
    pub(crate) wait: bool,
    /// After the cutover, keep replicating to the old source until the rollback window ends.
    #[arg(long)]
    pub(crate) keep_window: bool,
}

/// A migration, by its id.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OneMigration {
    /// The migration.
    #[arg(value_name = "ID")]
    pub(crate) id: MigrationId,
}

/// A migration to change, by its id, and the reason.
#[derive(Clone, Debug, Args)]
pub(crate) struct Changing {
    /// The migration.
    #[arg(value_name = "ID")]
    pub(crate) id: MigrationId,
    /// The reason.
    #[command(flatten)]
    pub(crate) why: Reason,
}

/// The reason for a change.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reason {
    /// The reason, in one line; recorded with the actor.
    #[arg(long, value_name = "TEXT", alias = "why")]
    pub(crate) reason: Option<String>,
}

/// The answer to the question of a command that cannot be undone.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Yes {
    /// Do not ask. Without a terminal there is no question.
    #[arg(long)]
    pub(crate) yes: bool,
}

impl Reason {
    /// The reason, if one was given.
    pub(crate) fn why(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

/// `rehome migration log ...`
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Look {
    /// The migration.
    #[arg(value_name = "ID")]
    pub(crate) id: MigrationId,
    /// Follow new entries until the migration ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `rehome migration verify ...`
#[derive(Clone, Debug, Args)]
pub(crate) struct Verify {
    /// The migration.
    #[arg(value_name = "ID")]
    pub(crate) id: MigrationId,
    /// Level: count, hash or full.
    #[arg(long, value_name = "LEVEL", default_value = "full", value_parser = level)]
    pub(crate) level: Level,
    /// The fraction of the history to compare, in ranges spread over all of it.
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = share)]
    pub(crate) sample: f64,
    /// Start after this position.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub(crate) after_seq: u64,
    /// Maximum read rate, in events per second; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) rate_max: u32,
    /// The reason.
    #[command(flatten)]
    pub(crate) why: Reason,
}

pub(super) fn phase(text: &str) -> Result<Phase, String> {
    Phase::parse(text).ok_or_else(|| {
        let all: Vec<_> = Phase::ALL.iter().map(|phase| phase.as_str()).collect();
        format!("the states are {}", all.join(", "))
    })
}

pub(super) fn level(text: &str) -> Result<Level, String> {
    Level::parse(text).ok_or_else(|| "the levels are count, hash and full".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "above 0 and at most 1".to_owned())
}
