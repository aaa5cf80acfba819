//! The project's own commands. `./x` calls them; `cargo xtask` does the same.
//!
//! One file per command, and the checks of `tidy` that are too long for it beside it. This crate
//! reads `cargo metadata` and the source text; it never imports another crate of the workspace.

mod advisories;
mod architecture;
mod bench;
mod chaos;
mod dependencies;
mod dist;
mod docs;
mod language;
mod leftovers;
mod metadata;
mod mutants;
mod prove;
mod publish;
mod release;
mod sbom;
mod setup;
mod simulate;
mod step;
mod test;
mod tidy;
mod tools;

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
    (
        "tidy",
        "format, lints, licenses, architecture, dependencies, leftovers, language",
        Plain(tidy::run),
    ),
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
        "mutants",
        "change the source and see whether a test notices; AREA, --shard K/N, --fresh, --list",
        WithArgs(mutants::run),
    ),
    (
        "dist",
        "a release binary, stripped and packed, with what it is made of (SBOM) and checksums",
        Plain(dist::run),
    ),
    (
        "publish-check",
        "whether the crates for crates.io can be published, and build with the oldest Rust",
        Plain(publish::run),
    ),
    ("docs", "the documentation as a site with search, in target/book", Plain(docs::run)),
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
            eprintln!("  {name:<15}{about}");
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

#[cfg(test)]
mod tests {
    use super::COMMANDS;

    #[test]
    fn the_usage_of_x_lists_every_command() {
        let x = include_str!("../../x");
        let usage = x.split("USAGE").nth(1).unwrap_or_default();
        for (name, ..) in COMMANDS {
            let listed =
                usage.lines().any(|line| line.trim_start().starts_with(&format!("{name} ")));
            assert!(listed, "./x help does not list {name}");
        }
    }
}
