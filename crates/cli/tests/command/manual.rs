//! Completions and man pages: every command has its own, and shells and man read them.

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
