//! One file per command.

use std::process::ExitCode;

use crate::args::Args;

/// Does what the arguments say.
pub(crate) async fn run(args: Args) -> ExitCode {
    match args.command {}
}
