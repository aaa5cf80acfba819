//! What a person at a terminal is asked, and what fits there. `script` is the terminal.

use std::process::Command;

use crate::kit::{Place, wait_for};

/// The command line on a terminal of so many columns, with these answers typed.
fn on_a_terminal(place: &Place, columns: u16, line: &str, typed: &str) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_rehome");
    let text = format!("stty cols {columns} rows 50; '{program}' {line}");
    let ours = place.command([]);
    let mut command = Command::new("sh");
    // Typed a line at a time: a terminal that is closed early would end the command.
    let script = "printf '%s\\n' \"$1\" | script -qec \"$2\" /dev/null";
    command.args(["-c", script, "sh", typed, &text]);
    command.current_dir(ours.get_current_dir().unwrap());
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The text without the ends of its lines.
fn unbroken(said: &str) -> String {
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_cannot_be_undone_is_asked_on_a_terminal_and_nowhere_else() {
    let (place, tenant) = Place::with_tenant(20);
    let to = tenant.to_string();
    let start = ["migration", "start", "--tenant", &to, "--to", "dedicated"];
    let process = place.spawn(start.into_iter().chain(["--cutover", "manual"]));
    let id = place.migration_of(tenant);
    let state = || place.json(["migration", "status", &id])["state"].clone();
    wait_for("the dual write", || (state() == "dual_write").then_some(()));
    process.signal("INT");
    process.ends();

    let line = format!("migration abort {id} --purge-target");
    let (code, said) = on_a_terminal(&place, 80, &line, "n");
    assert!(
        unbroken(&said).contains("cannot be resumed, and its copy in the target is removed"),
        "{said}"
    );
    assert_eq!((code, state()), (2, "dual_write".into()), "{said}");
    assert!(unbroken(&said).contains("nothing was changed; --yes continues"), "{said}");
    let (code, said) = on_a_terminal(&place, 80, &line, "y");
    assert_eq!((code, state()), (0, "rolled_back".into()), "{said}");

    let line = format!("tenant remove {to} --events 20");
    let (code, said) = on_a_terminal(&place, 80, &line, "n");
    assert!(unbroken(&said).contains("with all its 20 events"), "{said}");
    assert_eq!(
        (code, place.json(["tenant", "show", &to])["seq"].clone()),
        (2, 20.into()),
        "{said}"
    );
    let (code, said) = on_a_terminal(&place, 80, &format!("{line} --yes"), "n");
    assert!(code == 0 && !said.contains("[y/N]"), "{said}");

    // The answer is given, and not asked for: it is revoked, or there is none to revoke.
    place.rehome(["token", "create", "--role", "viewer", "--name", "looks"]).succeeds();
    let (code, said) = on_a_terminal(&place, 80, "token revoke looks --yes", "n");
    assert!(code == 0 && !said.contains("[y/N]"), "{said}");
    // Without a terminal it is done as ever.
    place.rehome(["token", "create", "--role", "viewer", "--name", "sees"]).succeeds();
    place.rehome(["token", "revoke", "sees"]).succeeds();
}

#[test]
fn a_file_is_not_replaced_without_a_word() {
    let (place, tenant) = Place::with_tenant(3);
    let tenant = tenant.to_string();
    place.write("history.ndjson", "mine");
    let line = format!("export --tenant {tenant} history.ndjson");
    let (code, said) = on_a_terminal(&place, 80, &line, "n");
    assert_eq!((code, place.read("history.ndjson")), (2, b"mine".to_vec()), "{said}");
    let ended = place.rehome(["export", "--tenant", &tenant, "history.ndjson"]);
    assert!(ended.stderr.contains("history.ndjson is replaced"), "{}", ended.stderr);
    ended.succeeds();
    assert_ne!(place.read("history.ndjson"), b"mine");
}

#[test]
fn lists_fit_a_terminal_of_80_and_of_60_columns_and_stay_tables_elsewhere() {
    let (place, tenant) = Place::with_tenant(3);
    let to = tenant.to_string();
    place.rehome(["migration", "start", "--tenant", &to, "--to", "dedicated"]).succeeds();
    for columns in [60, 80] {
        for line in ["migration ls", "tenant ls", "drain ls"] {
            let (code, said) = on_a_terminal(&place, columns, line, "");
            assert_eq!(code, 0, "{line}: {said}");
            let widest = said.lines().map(|line| line.trim_end().chars().count()).max();
            assert!(widest.unwrap_or(0) <= usize::from(columns), "{line} at {columns}: {said}");
        }
    }
    let list = place.rehome(["migration", "list"]).succeeds();
    assert!(list.lines().next().unwrap().starts_with("MIGRATION "), "{list}");
}

#[test]
fn an_error_is_red_on_a_terminal_unless_no_color_is_set() {
    let place = Place::new();
    let line = "migration show 0197f0a5-6f3c-7cc3-98c8-0c5a4d7d5a55";
    let (_, said) = on_a_terminal(&place, 80, line, "");
    assert!(said.contains("\u{1b}[31m") && said.contains("error:"), "{said:?}");
    let program = env!("CARGO_BIN_EXE_rehome");
    let line = format!("--version > /dev/null; NO_COLOR=1 '{program}' {line}");
    let (_, plain) = on_a_terminal(&place, 80, &line, "");
    assert!(plain.contains("error:") && !plain.contains('\u{1b}'), "{plain:?}");
}
