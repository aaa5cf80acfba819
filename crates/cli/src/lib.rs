//! The `rehome` command: arguments in, documents out. What it does is in `rehome_app`; here it is
//! asked for and shown.
//!
//! Data goes to stdout, progress and logs to stderr. Exit codes: 0 done, 1 failed, 2 bad usage,
//! 3 refused in this state, 4 not found, 5 violations found.
//!
//! A library so that a build with other features can be the same command: the tests have one with
//! failpoints. What is released is the program of this package, which has none.

mod args;
mod commands;
mod logs;
mod output;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

/// How long threads that block may hold up the end of the process.
const END_WITHIN: Duration = Duration::from_secs(5);

/// The whole command: reads the arguments of the process, answers its exit code.
pub fn run() -> ExitCode {
    let args = args::Args::parse();
    let out = output::Out::new(args.json, args.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(commands::run(args, &out));
            runtime.shutdown_timeout(END_WITHIN);
            ended
        }
        Err(error) => Err(rehome_app::AppError::failed(
            "runtime",
            format!("no threads to work with: {error}"),
        )),
    };
    ExitCode::from(match ended {
        Ok(()) => 0,
        Err(error) => out.failure(&error),
    })
}
