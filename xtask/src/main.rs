//! The project's own commands. `./x` calls them; `cargo xtask` does the same.
//!
//! One file per command, and the checks of `tidy` that are too long for it beside it. This room
//! knows the workspace from `cargo metadata` and the source text; it never imports a crate of ours.

mod advisories;
mod architecture;
mod bench;
mod chaos;
mod dependencies;
mod dist;
mod leftovers;
mod metadata;
mod prove;
mod release;
mod sbom;
mod setup;
mod simulate;
mod step;
mod test;
mod tidy;

use std::process::ExitCode;

/// Name, what it does, and the function that does it. A new command is a file and a line here.
type Command = (&'static str, &'static str, Run);

/// The function, and whether there may be more words after the command's name.
enum Run {
    Plain(fn() -> anyhow::Result<()>),
    WithArgs(fn(&[String]) -> anyhow::Result<()>),
}

use Run::{Plain, WithArgs};

const COMMANDS: &[Command] = &[
    ("test", "everything in tidy, then all tests", Plain(test::run)),
    ("tidy", "format, lints, licenses, architecture, dependencies, leftovers", Plain(tidy::run)),
    ("fmt", "format the sources", Plain(tidy::format)),
    (
        "bench",
        "measure against the targets; --quick for a small run, --help for the rest",
        WithArgs(bench::run),
    ),
    (
        "prove",
        "check the model of the protocol within large bounds; --rules tells what each rule is for",
        WithArgs(prove::run),
    ),
    (
        "simulate",
        "run the engine under seeded faults in virtual time; --seeds N, --seed S, --trace",
        WithArgs(simulate::run),
    ),
    (
        "chaos",
        "break processes and servers while a tenant moves; --seed N, --minutes M",
        WithArgs(chaos::run),
    ),
    (
        "dist",
        "a release binary, stripped and packed, with what it is made of (SBOM) and checksums",
        Plain(dist::run),
    ),
    (
        "setup",
        "install the tools and fetch the dependencies; after it no network is needed",
        Plain(setup::run),
    ),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let found = args.split_first().and_then(|(name, rest)| {
        let (_, _, run) = COMMANDS.iter().find(|command| command.0 == name)?;
        match run {
            Plain(run) => rest.is_empty().then(run),
            WithArgs(run) => Some(run(rest)),
        }
    });
    let Some(ended) = found else {
        eprintln!("usage: cargo xtask COMMAND\n");
        for (name, about, _) in COMMANDS {
            eprintln!("  {name:<10}{about}");
        }
        return ExitCode::from(2);
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
