//! The commands that texts name exist: those between backticks in the documentation, and in the messages of all crates.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};

use super::Args;

/// What of a mentioned command line is not there: the words after `rehome`, as far as they choose a command.
fn unknown(mut command: &Command, words: &str) -> Option<String> {
    // Options of all commands may stand before it.
    let options = ["--config", "--server", "--token"];
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        if options.contains(&word) {
            words.next();
            continue;
        }
        if word.starts_with('-') {
            continue;
        }
        // The text continues with a placeholder, an argument, or another word than a command's.
        if !command.has_subcommands() || !word.starts_with(|sign: char| sign.is_ascii_lowercase()) {
            return None;
        }
        let mut found = None;
        for one in word.split(['|', ',']).filter(|one| !one.is_empty()) {
            match command.find_subcommand(one) {
                Some(below) => found = Some(below),
                None => return Some(word.to_owned()),
            }
        }
        command = found?;
    }
    None
}

/// The texts between backticks that begin with the command, without what breaks a literal over lines.
fn mentioned(text: &str) -> Vec<String> {
    let parts = text.split('`').filter_map(|part| part.strip_prefix("rehome "));
    let joined = parts.map(|part| part.replace('\\', " "));
    let words = joined.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    // The options of cargo follow the crate of that name.
    words.filter(|words| words.len() < 200 && !words.starts_with("--test")).collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.file_name().is_some_and(|name| name == "mentioned.rs") {
            // Here are the wrong ones.
        } else if path.extension().is_some_and(|extension| extension == "md" || extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_command_that_a_text_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut all: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(|name| root.join(name))
        .into();
    for folder in ["docs", "crates"] {
        files(&root.join(folder), &mut all);
    }
    let command = Args::command();
    let (mut named, mut wrong) = (0, Vec::new());
    for path in all {
        for words in mentioned(&fs::read_to_string(&path).unwrap()) {
            named += 1;
            if let Some(word) = unknown(&command, &words) {
                wrong.push(format!("{}: `rehome {words}`: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(named > 300, "only {named} were found");
}

#[test]
fn what_does_not_exist_is_found() {
    let command = Args::command();
    let unknown = |words| unknown(&command, words);
    assert_eq!(unknown("migration run ID"), Some("run".to_owned()));
    assert_eq!(unknown("--config x.toml migration pause|halt ID"), Some("pause|halt".to_owned()));
    for right in ["migration drive", "--local migration start --tenant UUID", "tenant {command}"] {
        assert_eq!(unknown(right), None, "{right}");
    }
    assert_eq!(mentioned("see `rehome tenant \\\n   show` or rehome"), ["tenant show"]);
}
