//! `mutants`: changes the source in small ways, one at a time, and runs the tests. Changes that no test
//! notices are listed, except those that `mutants.txt` lists as equivalent.
//!
//! Not part of `test`: a mutant takes a build and a run of the tests. So the work is split into areas and shards,
//! and each continues where it was stopped: caught mutants are not tried again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::step::{cargo, root, run as run_command};

/// The version of cargo-mutants that the arguments and files here are those of.
const VERSION: &str = "27.1.0";

/// Seconds that the tests may take, if five times their usual time is not longer.
const TIMEOUT: &str = "20";

/// A part of the source, and the tests that have to notice.
struct Area {
    name: &'static str,
    package: &'static str,
    /// Globs of files.
    files: &'static [&'static str],
    /// Whose tests are run.
    tests: &'static [&'static str],
    /// Parts of the tests that are built and run faster than all of them, as arguments. They come first, one after the
    /// other; what one of them notices is tried no more.
    first: &'static [&'static [&'static str]],
}

/// The tests beside the source, and those of single rules: not the long schedules.
const DOMAIN: &[&[&str]] =
    &[&["--cargo-arg=--lib"], &["--cargo-arg=--test=properties", "--", "--", "--skip=schedules"]];

const AREAS: &[Area] = &[
    Area {
        name: "ledger",
        package: "rehome-domain",
        files: &["crates/domain/src/ledger.rs"],
        tests: &["rehome-domain"],
        first: DOMAIN,
    },
    Area {
        name: "append",
        package: "rehome-domain",
        files: &["crates/domain/src/append.rs"],
        tests: &["rehome-domain"],
        first: DOMAIN,
    },
    Area {
        name: "rules",
        package: "rehome-domain",
        files: &[
            "crates/domain/src/migration/*.rs",
            "crates/domain/src/loss.rs",
            "crates/domain/src/removal.rs",
            "crates/domain/src/route.rs",
        ],
        tests: &["rehome-domain"],
        first: DOMAIN,
    },
    Area {
        name: "drains",
        package: "rehome-domain",
        files: &[
            "crates/domain/src/drain/decide.rs",
            "crates/domain/src/drain/fact.rs",
            "crates/domain/src/drain/placement.rs",
            "crates/domain/src/drain/settings.rs",
            "crates/domain/src/drain/state.rs",
            "crates/domain/src/drain/tally.rs",
            "crates/domain/src/drain/transition.rs",
        ],
        tests: &["rehome-domain"],
        first: DOMAIN,
    },
    Area {
        name: "domain",
        package: "rehome-domain",
        files: &["crates/domain/src/**/*.rs"],
        tests: &["rehome-domain"],
        first: DOMAIN,
    },
    Area {
        name: "contracts",
        package: "rehome-ports",
        files: &["crates/ports/src/contract/**/*.rs", "crates/ports/src/log_chain.rs"],
        tests: &["rehome-ports"],
        first: &[],
    },
    Area {
        name: "migration",
        package: "rehome-engine",
        files: &["crates/engine/src/migration/**/*.rs"],
        tests: &["rehome-engine", "rehome-simulator"],
        first: &[],
    },
    Area {
        name: "router",
        package: "rehome-engine",
        files: &["crates/engine/src/router/**/*.rs"],
        tests: &["rehome-engine", "rehome-simulator"],
        first: &[],
    },
    Area {
        name: "copy",
        package: "rehome-engine",
        files: &[
            "crates/engine/src/auditor.rs",
            "crates/engine/src/replica.rs",
            "crates/engine/src/mirror/*.rs",
            "crates/engine/src/verifier/*.rs",
        ],
        tests: &["rehome-engine", "rehome-simulator"],
        first: &[],
    },
    Area {
        name: "sqlite",
        package: "rehome-sqlite",
        files: &["crates/adapters/sqlite/src/ledger_store/**/*.rs"],
        tests: &["rehome-sqlite"],
        first: &[],
    },
    Area {
        name: "postgres",
        package: "rehome-postgres",
        files: &["crates/adapters/postgres/src/ledger_store/**/*.rs"],
        tests: &["rehome-postgres"],
        first: &[],
    },
];

const USAGE: &str = "usage: cargo xtask mutants AREA [--shard K/N] [--fresh] [--list]";

/// The arguments.
struct Asked<'a> {
    area: &'static Area,
    shard: Option<&'a str>,
    fresh: bool,
    list: bool,
}

impl<'a> Asked<'a> {
    fn parse(args: &'a [String]) -> Result<Self> {
        let (mut area, mut shard, mut fresh, mut list) = (None, None, false, false);
        let mut args = args.iter().map(String::as_str);
        while let Some(word) = args.next() {
            match word {
                "--fresh" => fresh = true,
                "--list" => list = true,
                "--shard" => shard = Some(args.next().context(USAGE)?),
                name => area = AREAS.iter().find(|area| area.name == name),
            }
        }
        let names: Vec<_> = AREAS.iter().map(|area| area.name).collect();
        let area = area.with_context(|| format!("{USAGE}\nareas: {}", names.join(", ")))?;
        Ok(Self { area, shard, fresh, list })
    }

    /// The folder of the results, which are kept from one run to the next.
    fn folder(&self) -> PathBuf {
        let shard =
            self.shard.map_or(String::new(), |shard| format!("-{}", shard.replace('/', "-")));
        root().join("target/mutants").join(format!("{}{shard}", self.area.name))
    }

    fn command(&self) -> Command {
        let Area { package, files, tests, .. } = self.area;
        let mut command = cargo("mutants --all-features --no-shuffle --colors never");
        command.args(["--package", package]);
        command.args(files.iter().flat_map(|file| ["--file", file]));
        command.args(tests.iter().flat_map(|tests| ["--test-package", tests]));
        if let Some(shard) = self.shard {
            command.args(["--shard", shard]);
        }
        command
    }

    /// Lists the changes.
    fn list(&self) -> Command {
        let mut command = self.command();
        command.arg("--list");
        command
    }

    /// Tries the changes that are not known to be noticed, with the tests that `part` selects.
    fn try_with(&self, part: &[&str], folder: &Path) -> Command {
        let mut command = self.command();
        command.args(["--iterate", "--minimum-test-timeout", TIMEOUT, "--output"]).arg(folder);
        command.args(part);
        // Most of a change's time is the build of the tests, and a test that fails has done its work: no line
        // numbers, no smaller input, and no input that is kept for the next change.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("RUST_BACKTRACE", "0");
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0");
        command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
        command
    }
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let asked = Asked::parse(args)?;
    install()?;
    let folder = asked.folder();
    if asked.fresh && folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    if asked.list {
        return run_command(asked.list());
    }
    fs::create_dir_all(&folder)?;
    let listed = asked.list().output().context("cargo mutants cannot be started")?;
    if !listed.status.success() {
        bail!("cargo mutants --list: {}", String::from_utf8_lossy(&listed.stderr));
    }
    let listed = lines(&String::from_utf8(listed.stdout)?);
    let all: &[&str] = &["--cargo-arg=--tests"];
    for part in asked.area.first.iter().chain([&all]) {
        keep_unviable(&folder)?;
        // It fails where something was missed, which is judged here.
        let tried = asked.try_with(part, &folder).status();
        tried.context("cargo mutants cannot be started")?;
    }
    keep_unviable(&folder)?;
    let score = Score::read(&folder, &listed)?;
    score.judge(&equivalents(&fs::read_to_string(root().join("xtask/mutants.txt"))?)?)
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

/// The lines of a file, if it is there.
fn lines_of(path: &Path) -> Result<BTreeSet<String>> {
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    Ok(lines(&fs::read_to_string(path).with_context(|| path.display().to_string())?))
}

/// The changes that cannot be built, of all runs. A run that continues counts those of the runs before it as caught.
const UNVIABLE: &str = "unviable.txt";

fn keep_unviable(folder: &Path) -> Result<()> {
    let kept = folder.join(UNVIABLE);
    let mut all = lines_of(&kept)?;
    all.extend(lines_of(&folder.join("mutants.out").join(UNVIABLE))?);
    let text: String = all.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    Ok(fs::write(kept, text)?)
}

/// Sees to it that this version is there.
fn install() -> Result<()> {
    let version = cargo("mutants --version").stderr(Stdio::null()).output();
    let found = version.is_ok_and(|out| {
        String::from_utf8_lossy(&out.stdout).trim() == format!("cargo-mutants {VERSION}")
    });
    if found {
        return Ok(());
    }
    eprintln!("installing cargo-mutants {VERSION} (cargo install); it takes some minutes");
    // Without optimisation it builds several times faster, and its own work is none beside that of the tests.
    run_command(cargo(&format!("install cargo-mutants --version {VERSION} --locked --debug")))
}

/// A mutant without its place in the file, which moves with every line above it.
fn named(line: &str) -> String {
    let mut parts = line.splitn(4, ':');
    let (file, line, column, what) = (parts.next(), parts.next(), parts.next(), parts.next());
    let is_number = |text: Option<&str>| text.is_some_and(|it| it.parse::<u32>().is_ok());
    match (file, what) {
        (Some(file), Some(what)) if is_number(line) && is_number(column) => {
            format!("{file}: {}", what.trim())
        }
        _ => String::new(),
    }
}

/// The equivalent mutants. Each has a line, and after it, indented, a line with the reason.
fn equivalents(text: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    while let Some(mutant) = lines.next() {
        let why = lines.next().filter(|why| why.starts_with("    "));
        why.with_context(|| format!("mutants.txt does not say why this is no change: {mutant}"))?;
        found.insert(mutant.to_owned());
    }
    Ok(found)
}

/// What came of all mutants, in all runs.
struct Score {
    caught: usize,
    timed_out: usize,
    unviable: usize,
    missed: Vec<String>,
    /// Mutants that were not tried.
    left: usize,
}

impl Score {
    /// Of those that are listed: the others are of an earlier version of the source.
    fn read(folder: &Path, listed: &BTreeSet<String>) -> Result<Self> {
        let found = folder.join("mutants.out");
        let of =
            |name: &str| -> Result<BTreeSet<String>> { Ok(&lines_of(&found.join(name))? & listed) };
        let unviable = &lines_of(&folder.join(UNVIABLE))? & listed;
        let caught = &(&of("previously_caught.txt")? | &of("caught.txt")?) - &unviable;
        let (timed_out, missed) = (of("timeout.txt")?, of("missed.txt")?);
        let left = [&unviable, &caught, &timed_out, &missed]
            .into_iter()
            .fold(listed.clone(), |left, tried| &left - tried);
        Ok(Self {
            caught: caught.len(),
            timed_out: timed_out.len(),
            unviable: unviable.len(),
            missed: missed.into_iter().collect(),
            left: left.len(),
        })
    }

    fn judge(&self, equivalents: &BTreeSet<String>) -> Result<()> {
        let (same, missed): (Vec<_>, Vec<_>) =
            self.missed.iter().partition(|line| equivalents.contains(&named(line)));
        println!(
            "caught {}, endless {}, no change {}, not to be built {}, missed {}",
            self.caught,
            self.timed_out,
            same.len(),
            self.unviable,
            missed.len()
        );
        for line in &missed {
            println!("  missed {line}");
        }
        if self.left > 0 {
            bail!("mutants: {} of the changes were not tried; run it again to continue", self.left);
        }
        if !missed.is_empty() {
            bail!("mutants: no test notices {} of the changes", missed.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_known_without_its_place() {
        let line = "crates/domain/src/ledger.rs:12:5: replace f -> bool with true";
        assert_eq!(named(line), "crates/domain/src/ledger.rs: replace f -> bool with true");
        assert_eq!(named("something else"), "");
    }

    #[test]
    fn every_area_has_its_files() {
        for file in AREAS.iter().flat_map(|area| area.files) {
            let folder = file.split('*').next().unwrap_or_default();
            assert!(root().join(folder).exists(), "there is no {folder}");
        }
    }

    #[test]
    fn what_is_said_to_be_no_change_has_a_reason() {
        assert_eq!(equivalents("# x\na: b\n    because\n").unwrap(), ["a: b".to_owned()].into());
        assert!(equivalents("a: b\nc: d\n    because\n").is_err());
        assert!(equivalents("a: b\n").is_err());
        let file = fs::read_to_string(root().join("xtask/mutants.txt")).unwrap();
        equivalents(&file).unwrap();
    }

    #[test]
    fn only_what_is_no_change_may_be_missed() {
        let score = |missed: &[&str], left| Score {
            caught: 1,
            timed_out: 0,
            unviable: 0,
            missed: missed.iter().map(|line| (*line).to_owned()).collect(),
            left,
        };
        let same: BTreeSet<_> = ["f: x".to_owned()].into();
        assert!(score(&[], 0).judge(&same).is_ok() && score(&["f:1:2: x"], 0).judge(&same).is_ok());
        assert!(score(&["f:1:2: y"], 0).judge(&same).is_err());
        assert!(score(&[], 1).judge(&same).is_err(), "a part of it says nothing of the rest");
    }

    #[test]
    fn a_run_that_continues_counts_each_change_once_and_as_what_it_was() {
        let folder = std::env::temp_dir().join(format!("rehome-mutants-{}", std::process::id()));
        let out = folder.join("mutants.out");
        let write = |name: &str, text: &str| fs::write(out.join(name), text).unwrap();
        fs::create_dir_all(&out).unwrap();
        write("unviable.txt", "f:1:1: a\n");
        keep_unviable(&folder).unwrap();
        // The next run: its list of those before has what could not be built, and a place that has moved.
        write("unviable.txt", "f:2:1: b\n");
        write("previously_caught.txt", "f:1:1: a\nf:3:1: c\nf:99:1: c\n");
        write("caught.txt", "f:4:1: d\n");
        write("missed.txt", "f:5:1: e\n");
        keep_unviable(&folder).unwrap();
        let listed = lines("f:1:1: a\nf:2:1: b\nf:3:1: c\nf:4:1: d\nf:5:1: e\nf:6:1: g\n");
        let score = Score::read(&folder, &listed).unwrap();
        assert_eq!((score.caught, score.timed_out, score.unviable), (2, 0, 2));
        assert_eq!((score.missed, score.left), (vec!["f:5:1: e".to_owned()], 1));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_area_and_a_shard_are_asked_for() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let args = words("ledger --shard 1/8 --fresh");
        let asked = Asked::parse(&args).unwrap();
        assert!(asked.folder().ends_with("target/mutants/ledger-1-8") && asked.fresh);
        assert!(Asked::parse(&words("nothing")).is_err());
        assert!(Asked::parse(&words("ledger --shard")).is_err());
        for area in AREAS {
            for glob in area.files {
                let first = glob.split('*').next().unwrap_or_default();
                assert!(root().join(first).exists(), "{glob}");
            }
        }
    }
}
