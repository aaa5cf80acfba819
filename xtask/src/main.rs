//! The project's own commands. `./x` calls them; `cargo xtask` does the same.
//!
//! One file per command, and the checks of `tidy` that are too long for it beside it. This room
//! knows the workspace from `cargo metadata` and the source text; it never imports a crate of ours.

mod architecture;
mod dependencies;
mod leftovers;
mod metadata;
mod setup;
mod step;
mod test;
mod tidy;

use std::process::ExitCode;

/// Name, what it does, and the function that does it. A new command is a file and a line here.
type Command = (&'static str, &'static str, fn() -> anyhow::Result<()>);

const COMMANDS: &[Command] = &[
    ("test", "everything in tidy, then all tests", test::run),
    ("tidy", "format, lints, licenses, architecture, dependencies, leftovers", tidy::run),
    ("fmt", "format the sources", tidy::format),
    (
        "setup",
        "install the tools and fetch the dependencies; after it no network is needed",
        setup::run,
    ),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let command = match &args[..] {
        [name] => COMMANDS.iter().find(|command| command.0 == name),
        _ => None,
    };
    let Some((_, _, run)) = command else {
        eprintln!("usage: cargo xtask COMMAND\n");
        for (name, about, _) in COMMANDS {
            eprintln!("  {name:<8}{about}");
        }
        return ExitCode::from(2);
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
