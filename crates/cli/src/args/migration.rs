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
    /// Move a tenant to another store while its writers go on.
    ///
    /// The migration runs in this process until the tenant lives in the target, or an operator
    /// has to act. Ctrl-C stops the work and not the tenant: `migration resume` goes on with it.
    /// Through a server it runs there, and the command ends when it was started unless it is to wait.
    #[command(after_help = "\
Examples:
  rehome migration start --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 --to dedicated
  rehome migration start --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706 --to dedicated \\
      --copy-rate-max 2000 --cutover at 2024-06-15T02:00:00Z --rollback-window 24h")]
    Start(Box<Start>),
    /// List migrations, newest first.
    List {
        /// Only those in this state.
        #[arg(long, value_name = "STATE", value_parser = phase)]
        state: Option<Phase>,
        /// Only those of this tenant.
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: Option<TenantId>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Show a migration.
    Show(OneMigration),
    /// Show a migration as it goes on, until its end.
    Watch(OneMigration),
    /// Show what happened to a migration.
    Log(Look),
    /// Stop the work; writes go on at the source.
    Pause(Changing),
    /// Go on with a paused migration, or with one whose process has died.
    Resume {
        /// Which.
        #[command(flatten)]
        migration: Changing,
        /// Once migrated, keep the old source level until the rollback window ends.
        #[arg(long)]
        keep_window: bool,
    },
    /// Work on every migration that nobody works on, until stopped.
    ///
    /// For a process that lives long, beside others like it, and without a server, which does the same: it takes over from processes that died
    /// or hang. What is paused or failed is left to operators.
    Drive,
    /// Ask for the cutover, and wait for it.
    Cutover(Changing),
    /// Give a migration up before its cutover; the tenant stays where it is.
    Abort {
        /// Which.
        #[command(flatten)]
        migration: Changing,
        /// Remove what was copied to the target.
        #[arg(long)]
        purge_target: bool,
    },
    /// Repair the copy after a verification or the read-back found violations.
    ///
    /// The copy is cut back to before the damage, copied again and verified; writes go on at the source.
    /// Damage in the source's own rows cannot be repaired this way, and the command names it. Exits
    /// with 5 when violations are found again.
    Repair(Changing),
    /// Say that you have seen that a migration failed.
    ///
    /// Health checks and alerts then no longer tell of it. The tenant stays where it is; `migration
    /// abort` cleans up, also without this.
    Acknowledge(Changing),
    /// Take, or take again, the baseline that a migration is compared with afterwards.
    ///
    /// Events per second from the ledger over the window, and the latency of appends as far as this
    /// process or the configured Prometheus sees it. One is taken at each start, from the last minute.
    Baseline {
        /// Which.
        #[command(flatten)]
        migration: OneMigration,
        /// How long to watch.
        #[arg(long, value_name = "DURATION", default_value = "30s")]
        window: Millis,
        /// Show the one that was taken.
        #[arg(long, conflicts_with = "window")]
        show: bool,
    },
    /// Verify the two stores of a migration against each other.
    ///
    /// Exits with 5 when violations are found.
    Verify(Verify),
    /// Change options while a migration runs.
    #[command(after_help = "\
Example:
  rehome migration tune 0197f0a5-6f3c-7cc3-98c8-0c5a4d7d5a55 --copy-rate-max 500")]
    Tune {
        /// Which.
        #[command(flatten)]
        migration: Changing,
        /// What to change.
        #[command(flatten)]
        options: Box<OptionFlags>,
    },
    /// Move the tenant back, within the rollback window of its migration.
    Return {
        /// The migration that brought it here.
        #[command(flatten)]
        migration: Changing,
        /// How to go back.
        #[command(flatten)]
        goal: Goal,
        /// What to run with.
        #[command(flatten)]
        options: Box<OptionFlags>,
    },
}

/// `rehome migration start ...`
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Whose history.
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    pub(crate) tenant: TenantId,
    /// To which store.
    #[arg(long, value_name = "STORE")]
    pub(crate) to: StoreId,
    /// How far to go.
    #[command(flatten)]
    pub(crate) goal: Goal,
    /// Why.
    #[command(flatten)]
    pub(crate) why: Reason,
    /// What to run with.
    #[command(flatten)]
    pub(crate) options: OptionFlags,
}

/// How far a command goes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Goal {
    /// Wait for the end. A migration that runs in this process is always waited for; one that a server
    /// works on, with this only.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Once migrated, keep the old source level until the rollback window ends.
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

/// A migration that is changed, by its id, and why.
#[derive(Clone, Debug, Args)]
pub(crate) struct Changing {
    /// The migration.
    #[arg(value_name = "ID")]
    pub(crate) id: MigrationId,
    /// Why.
    #[command(flatten)]
    pub(crate) why: Reason,
}

/// Why something is done.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reason {
    /// Why, in one line; it stands in the migration's log beside who did it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
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
    /// Go on with what is added, until the migration's end.
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `rehome migration verify ...`
#[derive(Clone, Debug, Args)]
pub(crate) struct Verify {
    /// The migration.
    #[arg(value_name = "ID")]
    pub(crate) id: MigrationId,
    /// How deep: count, hash or full.
    #[arg(long, value_name = "LEVEL", default_value = "full", value_parser = level)]
    pub(crate) level: Level,
    /// The part of the history to look at, in ranges spread over all of it.
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = share)]
    pub(crate) sample: f64,
    /// Begin after this position.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub(crate) after_seq: u64,
    /// Read at most so many events per second; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) rate_max: u32,
    /// Why.
    #[command(flatten)]
    pub(crate) why: Reason,
}

fn phase(text: &str) -> Result<Phase, String> {
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
