//! The `rehome` command: arguments in, documents out. `rehome_app` does the work; this crate
//! calls it and shows the results.
//!
//! Data goes to stdout, progress and logs to stderr. Exit codes: 0 done, 1 failed, 2 bad usage,
//! 3 refused in this state, 4 not found, 5 violations found.
//!
//! It is a library so that a build with other features can be the same command: the tests have one with
//! failpoints. The released program of this package has none.

/// Memory that one thread allocates and another frees, as for each batch of a copy, would accumulate in
/// the arenas of the C library; this allocator returns it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod args;
mod commands;
mod operate;
mod output;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

/// How long threads that block may hold up the end of the process.
const END_WITHIN: Duration = Duration::from_secs(5);

/// The whole command: reads the arguments of the process, answers its exit code.
pub fn run() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return not_understood(&error),
    };
    let out = output::Out::new(args.json, args.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(async {
                let ended = Box::pin(commands::run(args, &out)).await;
                rehome_observe::telemetry::finish().await;
                ended
            });
            runtime.shutdown_timeout(END_WITHIN);
            ended
        }
        Err(error) => {
            Err(rehome_app::AppError::failed("runtime", format!("cannot start threads: {error}")))
        }
    };
    ExitCode::from(match ended {
        Ok(()) => 0,
        Err(error) => out.failure(&error),
    })
}

/// Help and version are not errors; bad usage is reported as text or as JSON.
fn not_understood(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    if error.use_stderr() && wants_json {
        let words = error.render().to_string();
        let message = words.trim_start_matches("error: ").trim_end();
        let error = rehome_app::AppError::new(rehome_app::Kind::Usage, "bad_usage", message);
        return ExitCode::from(output::Out::new(true, false).failure(&error));
    }
    output::terminal::parsing(error);
    ExitCode::from(if error.use_stderr() { rehome_app::Kind::Usage.exit_code() } else { 0 })
}
