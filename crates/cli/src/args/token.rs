//! `rehome token ...`

use clap::{Args, Subcommand};
use rehome_api::duration::Millis;
use rehome_domain::ids::{StoreId, TenantId};

use super::tenant::tenant;
use super::{Reason, Yes};

/// `rehome token ...`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and print its secret, once.
    ///
    /// The control plane stores its hash, and every server accepts it within a second. The first token closes
    /// the deployment: from then on every request needs one, also after a restart.
    #[command(after_help = "\
Examples:
  rehome token create --role operator --name alice --expires 90d
  rehome token create --role tenant --name shop \\
      --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706
  rehome token create --role operator --name eu \\
      --store eu-1 --store eu-2
  rehome token create --role metrics --name prometheus \\
      --for-configuration")]
    Create(CreateToken),
    /// List tokens with role, bounds, expiry and last use.
    #[command(visible_alias = "ls")]
    List,
    /// Replace a token with a new one of the same name, role and bounds; prints the secret once.
    #[command(after_help = "\
Example:
  rehome token rotate shop --keep-old-for 10m")]
    Rotate {
        /// The name of the token.
        #[arg(value_name = "NAME")]
        name: String,
        /// How long the old token stays valid [default: not at all].
        #[arg(long, value_name = "DURATION")]
        keep_old_for: Option<Millis>,
        /// Lifetime of the new token [default: that of the old one].
        #[arg(long, value_name = "DURATION")]
        expires: Option<Millis>,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
    /// Revoke a token, its sessions and its open streams, at every server within a second.
    Revoke {
        /// The name; revokes all tokens of that name.
        #[arg(value_name = "NAME")]
        name: String,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
        /// The reason.
        #[command(flatten)]
        why: Reason,
    },
    /// Open the deployment: allow requests without a token, where no server has one in its configuration.
    ///
    /// Every client can then read and move every tenant. Refused while a token is valid. Running servers follow
    /// within a second.
    Open {
        /// The reason.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The answer.
        #[command(flatten)]
        yes: Yes,
    },
}

/// `rehome token create ...`
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateToken {
    /// admin: everything. operator: operates migrations. viewer: views migrations and stores. tenant (or
    /// writer): appends and reads its tenants' events. reader: reads them. metrics: reads /metrics.
    #[arg(
        long,
        value_name = "ROLE",
        value_parser = ["admin", "operator", "viewer", "tenant", "writer", "reader", "metrics"]
    )]
    pub(crate) role: String,
    /// The tenant: required for tenant and reader; bounds operator and viewer. Can be repeated.
    #[arg(long = "tenant", value_name = "TENANT", value_parser = tenant)]
    pub(crate) tenants: Vec<TenantId>,
    /// Bounds operator and viewer to this store. Can be repeated; a migration is within the bounds if both
    /// its stores are.
    #[arg(long = "store", value_name = "ID")]
    pub(crate) stores: Vec<StoreId>,
    /// The name in logs [default: the role].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Lifetime, like 12h or 90d [default: no expiry].
    #[arg(long, value_name = "DURATION")]
    pub(crate) expires: Option<Millis>,
    /// Print the configuration lines that make a server accept the token, and store it nowhere. Needs no
    /// control plane. Removing the lines, followed by SIGHUP, revokes the token.
    #[arg(long)]
    pub(crate) for_configuration: bool,
    /// The reason.
    #[command(flatten)]
    pub(crate) why: Reason,
}
