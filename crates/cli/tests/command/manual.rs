//! Completions and man pages: every command has its own, and shells and man read them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::kit::Place;

#[test]
fn every_command_has_a_page_that_names_its_options() {
    let place = Place::new();
    let written = place.json(["man", "pages/man1"]);
    let written: Vec<&str> =
        written.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["rehome.1", "rehome-migration-start.1", "rehome-import.1", "rehome-store-adopt.1"]
    {
        assert!(written.contains(&name), "{name}: {written:?}");
    }
    assert!(!written.iter().any(|name| name.contains("plain-writer") || name.contains("help")));
    let page = String::from_utf8(place.read("pages/man1/rehome-migration-start.1")).unwrap();
    for part in [".TH rehome-migration-start 1", "rollback\\-window", ".SH SYNOPSIS"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

/// The help of each command, without the options of every command.
#[test]
fn the_reference_page_is_the_help_of_every_command() {
    let place = Place::new();
    let pages = place.json(["man", "pages"]);
    let mut pages: Vec<_> = pages
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|page| page.as_str()?.strip_suffix(".1"))
        .collect();
    pages.sort_unstable();
    let mut page = "# Commands\n\nThe help of every command. This page is generated; a test fails when it is stale. Options of \
                    every command are listed once, under `rehome`.\n"
        .to_owned();
    for name in pages {
        let words: Vec<_> = name.split('-').skip(1).collect();
        let help = place.rehome(words.iter().copied().chain(["--help"])).succeeds();
        let own = if words.is_empty() { help.clone() } else { own_part(&help) };
        // An empty line ends with the indentation of the text around it.
        let own = own.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        let name = name.replace('-', " ");
        let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", own.trim_end());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    if std::env::var_os("REHOME_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/commands.md is stale: REHOME_WRITE_DOCS=1 cargo test -p rehome-cli --test command reference_page"
    );
}

/// The help of a command without the indented list of the options of every command; examples follow that list.
fn own_part(help: &str) -> String {
    let Some((own, rest)) = help.split_once("\nOptions of every command:\n") else {
        return help.to_owned();
    };
    let after = rest.lines().skip_while(|line| line.is_empty() || line.starts_with(' '));
    format!("{own}\n{}", after.collect::<Vec<_>>().join("\n"))
}

#[test]
fn examples_of_a_command_are_on_the_reference_page() {
    let place = Place::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let page = std::fs::read_to_string(page).unwrap();
    for command in [&["init"][..], &["import"], &["migration", "start"], &["token", "create"]] {
        let help = place.rehome(command.iter().copied().chain(["--help"])).succeeds();
        let examples = help.split_once("\nExamples:\n").expect("examples").1.trim_end();
        assert!(page.contains(examples), "{command:?}: {examples}");
    }
}

#[test]
fn bash_reads_its_completions_and_finds_a_command() {
    let place = Place::new();
    place.write("completions.bash", place.rehome(["completions", "bash"]).succeeds());
    let script = "source ./completions.bash && COMP_WORDS=(rehome migr) COMP_CWORD=1 && \
                  _rehome rehome migr rehome && printf '%s\n' \"${COMPREPLY[@]}\"";
    let found = Command::new("bash")
        .args(["--norc", "-c", script])
        .current_dir(place.path("."))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&found.stdout);
    assert_eq!(text.trim(), "migration", "{}", String::from_utf8_lossy(&found.stderr));
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        assert!(place.rehome(["completions", shell]).succeeds().contains("migration"));
    }
    place.rehome(["completions", "csh"]).fails(2);
}
