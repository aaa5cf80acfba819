//! `rehome drain ...`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rehome_api::drain::{DrainSettings, DrainTarget};
use rehome_api::duration::Millis;
use rehome_domain::ids::{DrainId, StoreId, TenantId};

use super::migration::{Reason, Yes};
use super::options::OptionFlags;
use super::tenant::tenant;

/// `rehome drain ...`
#[derive(Debug, Subcommand)]
pub(crate) enum DrainCommand {
    /// Plan a drain: show what would move where, tenant by tenant. Changes nothing.
    #[command(after_help = "\
Example:
  rehome drain plan --from shared --to a --to b=3 \\
      --output plan.json")]
    Plan {
        /// The drain to plan.
        #[command(flatten)]
        asked: Box<Asked>,
        /// Also write the plan to this file, for `drain start --plan`.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
    },
    /// Start a drain: empty stores, tenant by tenant, while their writers continue.
    ///
    /// Without a server this process works on the drain until it ends; Ctrl-C stops the work, and any process
    /// of the deployment can continue it. With a server, the servers work on it.
    #[command(after_help = "\
Examples:
  rehome drain start --from shared --to a --to b \\
      --concurrency 8 \\
      --window \"Mon-Fri 01:00-05:00 Europe/Berlin\"
  rehome drain start --plan plan.json")]
    Start {
        /// The drain to start.
        #[command(flatten)]
        asked: Box<Asked>,
        /// Start this plan. Refused if the deployment has changed since.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "tenants", "exclude"])]
        plan: Option<PathBuf>,
        /// Start the drain without working on it; other processes do.
        #[arg(long)]
        detach: bool,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
    /// List drains, newest first.
    #[command(visible_alias = "ls")]
    List {
        /// Only drains that have not ended.
        #[arg(long)]
        open: bool,
        /// Maximum number of results.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Show a drain, or its tenants in one state.
    #[command(visible_alias = "status")]
    Show {
        /// The drain.
        #[arg(value_name = "ID")]
        id: DrainId,
        /// List the tenants in this state: waiting, again, moving, moved, set_aside or stays.
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
    },
    /// Watch a drain until it ends.
    Watch {
        /// The drain.
        #[arg(value_name = "ID")]
        id: DrainId,
    },
    /// Pause a drain: start no further move; running moves continue.
    Pause(OneDrain),
    /// Resume a paused drain.
    Resume(OneDrain),
    /// Cancel a drain: start no further move, and abort running ones.
    ///
    /// Tenants that have moved stay where they are. A cutover that has started finishes.
    Cancel {
        /// The drain.
        #[command(flatten)]
        drain: OneDrain,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
    },
    /// Change limits, window, order, targets or options while a drain runs.
    ///
    /// What is not given stays as it is.
    #[command(mut_args(without_default))]
    Tune(Box<Tune>),
    /// Retry tenants that were set aside.
    Retry {
        /// The drain.
        #[arg(value_name = "ID")]
        id: DrainId,
        /// Only this tenant; can be repeated [default: all].
        #[arg(long, value_name = "TENANT", value_parser = tenant)]
        tenant: Vec<TenantId>,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
}

/// The argument of a change: its help names no default, because what is not given stays as it is.
fn without_default(arg: clap::Arg) -> clap::Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    match help.split_once(" [default: ") {
        Some((help, _)) => arg.help(help.to_owned()),
        None => arg,
    }
}

/// The changes of a drain.
#[derive(Debug, Args)]
pub(crate) struct Tune {
    /// The drain.
    #[arg(value_name = "ID")]
    pub(crate) id: DrainId,
    /// The targets with their weights; replaces all targets.
    #[arg(long, value_name = "STORE[=WEIGHT]", value_parser = target)]
    pub(crate) to: Vec<DrainTarget>,
    /// The settings to change.
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    /// The options of migrations that start from now on.
    #[command(flatten)]
    pub(crate) options: OptionFlags,
    /// The reason.
    #[command(flatten)]
    pub(crate) why: Reason,
}

/// A drain, and the reason.
#[derive(Debug, Args)]
pub(crate) struct OneDrain {
    /// The drain.
    #[arg(value_name = "ID")]
    pub(crate) id: DrainId,
    /// The reason.
    #[command(flatten)]
    pub(crate) why: Reason,
}

/// Sources, targets, tenants and settings of a drain.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// A store to empty; can be repeated.
    #[arg(long, value_name = "STORE")]
    pub(crate) from: Vec<StoreId>,
    /// A target store with its weight [default: 1]; can be repeated.
    #[arg(long, value_name = "STORE[=WEIGHT]", value_parser = target)]
    pub(crate) to: Vec<DrainTarget>,
    /// Only the tenants in this file, one per line; - for stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) tenants: Option<PathBuf>,
    /// Exclude this tenant; can be repeated.
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    pub(crate) exclude: Vec<TenantId>,
    /// The settings of the drain.
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    /// The options of its migrations.
    #[command(flatten)]
    pub(crate) options: OptionFlags,
}

/// The settings of a drain.
#[derive(Debug, Args)]
pub(crate) struct SettingFlags {
    /// The order of the tenants: smallest, largest or idle first [default: smallest].
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// How to choose a target: weights, free_space or least_loaded [default: weights].
    #[arg(long, value_name = "HOW")]
    placement: Option<String>,
    /// Maximum number of migrations at the same time [default: 4].
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Maximum number of those from one source; 0: no limit [default: 0].
    #[arg(long, value_name = "N")]
    per_source: Option<u32>,
    /// Maximum number of those to one target; 0: no limit [default: 0].
    #[arg(long, value_name = "N")]
    per_target: Option<u32>,
    /// Maximum number of cutovers that start in one minute; 0: no limit [default: 0].
    #[arg(long, value_name = "N")]
    cutovers_per_minute: Option<u32>,
    /// Maximum copy rate of all moves together, in events per second; 0: no limit [default: 0].
    #[arg(long, value_name = "N")]
    total_rate_max: Option<u32>,
    /// Maximum copy rate of all moves together, in bytes per second; 0: no limit [default: 0].
    #[arg(long, value_name = "N")]
    total_bytes_rate_max: Option<u32>,
    /// When cutovers may start, such as "Mon-Fri 01:00-05:00 Europe/Berlin"; any: at any time.
    #[arg(long, value_name = "WINDOW")]
    window: Option<String>,
    /// Number of attempts for each tenant [default: 3].
    #[arg(long, value_name = "N")]
    tries: Option<u32>,
    /// How long a tenant that was set aside waits for its next attempt [default: 30s].
    #[arg(long, value_name = "DURATION")]
    retry_after: Option<Millis>,
    /// Pause the drain after this many failures; 0: never [default: 20].
    #[arg(long, value_name = "N")]
    failures_max: Option<u32>,
    /// Abort a move that makes no progress for this long [default: 5m].
    #[arg(long, value_name = "DURATION")]
    patience: Option<Millis>,
    /// Abort a move whose cutover was rolled back this many times [default: 5].
    #[arg(long, value_name = "N")]
    cutover_tries: Option<u32>,
}

impl SettingFlags {
    /// The document of these settings.
    pub(crate) fn document(self) -> DrainSettings {
        DrainSettings {
            order: self.order,
            placement: self.placement,
            concurrency: self.concurrency,
            per_source: self.per_source,
            per_target: self.per_target,
            cutovers_per_minute: self.cutovers_per_minute,
            copy_rate_max: self.total_rate_max,
            copy_bytes_rate_max: self.total_bytes_rate_max,
            window: self.window,
            tries: self.tries,
            retry_after: self.retry_after,
            failures_max: self.failures_max,
            patience: self.patience,
            cutover_tries: self.cutover_tries,
        }
    }
}

fn target(text: &str) -> Result<DrainTarget, String> {
    let (store, weight) = text.split_once('=').unwrap_or((text, "1"));
    let store: StoreId = store.parse().map_err(|error| format!("{error}"))?;
    let weight =
        weight.parse().map_err(|_| format!("the weight {weight:?} is not a whole number"))?;
    Ok(DrainTarget { store: store.to_string(), weight })
}
