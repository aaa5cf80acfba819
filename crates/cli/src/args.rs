//! What can be said on the command line.

use std::path::PathBuf;

/// Zero-downtime live migration of a tenant between event stores.
#[derive(Debug, clap::Parser)]
#[command(name = "rehome", version, about)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON: one document, or one per line for streams.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {}
