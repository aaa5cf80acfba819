//! `rehome token ...`

use clap::{Args, Subcommand};
use rehome_api::duration::Millis;
use rehome_domain::ids::{StoreId, TenantId};

use super::Reason;
use super::tenant::tenant;

/// `rehome token ...`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and show its secret, once.
    ///
    /// The control plane keeps it, without its secret, and every server knows it within a second. The first
    /// token closes the deployment: from then on nobody enters without one, also after a restart.
    #[command(after_help = "\
Examples:
  rehome token create --role operator --name alice --expires 90d
  rehome token create --role tenant --name shop --tenant 824a8fcf-0c14-513f-bd3a-4c35d1078706
  rehome token create --role operator --name eu --store eu-1 --store eu-2
  rehome token create --role metrics --name prometheus --for-configuration")]
    Create(CreateToken),
    /// All tokens: what they may do, how long, and when they were used last.
    List,
    /// Replace a token by one with its name, role and bounds; shown once.
    #[command(after_help = "\
Example:
  rehome token rotate shop --keep-old-for 10m")]
    Rotate {
        /// Which.
        #[arg(value_name = "NAME")]
        name: String,
        /// How long the old one stays good, so that whoever has it can change over [default: not at all].
        #[arg(long, value_name = "DURATION")]
        keep_old_for: Option<Millis>,
        /// How long the new one is good [default: as long as the old one was].
        #[arg(long, value_name = "DURATION")]
        expires: Option<Millis>,
        /// Why.
        #[command(flatten)]
        why: Reason,
    },
    /// End a token, with its sessions and what it follows, at every server within a second.
    Revoke {
        /// Which; all of that name.
        #[arg(value_name = "NAME")]
        name: String,
        /// Why.
        #[command(flatten)]
        why: Reason,
    },
    /// Let everybody in again, without a token, where no server has one in its configuration.
    ///
    /// Gives up all protection: whoever reaches a server reads and moves every tenant. Refused while a token
    /// is good. A server that runs knows it within a second.
    Open {
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// `rehome token create ...`
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateToken {
    /// admin: everything. operator: runs migrations. viewer: looks at migrations and stores. tenant (or
    /// writer): appends and reads its tenants' events. reader: reads them. metrics: reads /metrics.
    #[arg(
        long,
        value_name = "ROLE",
        value_parser = ["admin", "operator", "viewer", "tenant", "writer", "reader", "metrics"]
    )]
    pub(crate) role: String,
    /// Whose events, for tenant and reader; operator and viewer: bound to it. May be said more than once.
    #[arg(long = "tenant", value_name = "TENANT", value_parser = tenant)]
    pub(crate) tenants: Vec<TenantId>,
    /// Operator and viewer: bound to this store. May be said more than once; a migration is within the
    /// bounds when both its stores are.
    #[arg(long = "store", value_name = "ID")]
    pub(crate) stores: Vec<StoreId>,
    /// Who, in logs [default: the role].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How long it is good, like 12h or 90d [default: until it is revoked].
    #[arg(long, value_name = "DURATION")]
    pub(crate) expires: Option<Millis>,
    /// Keep it nowhere; print the lines that let it in where they stand in a server's configuration. Needs no
    /// control plane. Without the lines, and after SIGHUP, the token is revoked.
    #[arg(long)]
    pub(crate) for_configuration: bool,
    /// Why.
    #[command(flatten)]
    pub(crate) why: Reason,
}
