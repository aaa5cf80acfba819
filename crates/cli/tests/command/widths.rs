//! Every command on a terminal of 80 and of 60 columns: its help, and what it prints of a deployment with tenants in
//! each state. The commands are those of which the program has pages, so that none can be forgotten.

use std::fmt::Write as _;
use std::process::Command;

use uuid::Uuid;

use crate::kit::{Place, Running, lines};

/// What these print is a file for another program, whose lines are as they are.
const FILES: [&str; 4] = ["completions", "store layout show", "store layout guess", "audit export"];

/// A deployment, and the migrations and the drain in it.
struct Scene {
    place: Place,
    /// The process that works on the migration under way.
    _works: Running,
    migrated: String,
    ready: String,
    paused: String,
    failed: String,
    aborted: String,
    under_way: String,
    drain: String,
}

fn tenant(n: u128) -> Uuid {
    Uuid::from_u128(0x824a_8fcf_0c14_413f_8d3a_0000_0000_0000 + n)
}

/// Tenants whose histories are damaged at their source, so that they cannot be copied.
const DAMAGED: [u128; 2] = [4, 5];

impl Scene {
    fn set() -> Self {
        let place = Place::new();
        let events = |n: u128| if [3, 8].contains(&n) { 1..=4_000 } else { 1..=40 };
        let all: String = (1..=10).map(|n| lines(tenant(n), events(n))).collect();
        place.write("all.ndjson", all);
        place.rehome(["import", "--store", "shared", "all.ndjson"]).succeeds();
        for n in DAMAGED {
            let sql = "UPDATE events SET data = '{}' WHERE position = 1099511627776 * \
                       (SELECT tenant_no FROM ledger WHERE tenant = ?1) + 20";
            let shared = place.sqlite("shared.db");
            assert_eq!(shared.execute(sql, [tenant(n).as_bytes().as_slice()]).unwrap(), 1);
        }
        let spawn = |n: u128, more: &[&str]| {
            let id = tenant(n).to_string();
            let start = ["migration", "start", "--tenant", &id, "--to", "dedicated"];
            let running = place.spawn(start.into_iter().chain(more.iter().copied()));
            (running, place.migration_of(tenant(n)))
        };
        let in_state = |id: &str, state: &str| {
            place.until(id, state, |found| found["state"] == state);
        };
        let (running, migrated) = spawn(1, &["--rollback-window", "24h", "--reason", "too loud"]);
        running.ends().succeeds();
        let (running, ready) = spawn(2, &["--cutover", "manual"]);
        place.until(&ready, "ready", |found| found["needs"].to_string().contains("ready"));
        running.signal("INT");
        running.ends();
        let (running, paused) = spawn(3, &["--copy-rate-max", "20"]);
        in_state(&paused, "bulk_copy");
        place.rehome(["migration", "pause", &paused, "--reason", "the night is over"]).succeeds();
        running.signal("INT");
        running.ends();
        let (running, failed) = spawn(4, &[]);
        running.ends().fails(1);
        let (running, aborted) = spawn(6, &["--cutover", "manual"]);
        in_state(&aborted, "dual_write");
        place.rehome(["migration", "abort", &aborted, "--reason", "not tonight"]).succeeds();
        running.signal("INT");
        running.ends();
        place.write("some.txt", format!("{}\n{}\n", tenant(5), tenant(7)));
        let start = ["drain", "start", "--from", "shared", "--to", "dedicated", "--tenants"];
        place.rehome(start.into_iter().chain(["some.txt", "--tries", "1"])).fails(1);
        let drain = place.json(["drain", "list"])[0]["id"].as_str().unwrap().to_owned();
        let (works, under_way) = spawn(8, &["--copy-rate-max", "20"]);
        in_state(&under_way, "bulk_copy");
        Self { place, _works: works, migrated, ready, paused, failed, aborted, under_way, drain }
    }

    /// What is looked at first, then what changes something, then refusals.
    fn lines(&self) -> Vec<String> {
        const WITHOUT_IDS: [&str; 23] = [
            "--version",
            "config show",
            "config check",
            "config check --config nowhere.toml",
            "store check",
            "store verify shared",
            "store verify dedicated --level count",
            "store layout list",
            "store layout check eventsource-py",
            "health",
            "recover",
            "audit verify",
            "token list",
            "tenant list",
            "tenant list --limit 2",
            "migration list",
            "migration list --needs-you",
            "migration list --state failed",
            "drain list",
            "drain plan --from shared --to dedicated",
            "checklist before",
            "estimate --events 1500000 --rate 10000 --write-rate 200",
            "import --dry-run all.ndjson",
        ];
        let Self { migrated, ready, paused, failed, aborted, under_way, .. } = self;
        let mut lines: Vec<String> = WITHOUT_IDS.map(str::to_owned).into();
        for id in [migrated, ready, paused, failed, aborted, under_way] {
            lines.push(format!("migration show {id}"));
            lines.push(format!("migration log {id}"));
            lines.push(format!("checklist during {id}"));
        }
        lines.extend((1..=9).map(|n| format!("tenant show {}", tenant(n))));
        lines.extend(self.looks_at_one());
        lines.extend(self.changes());
        lines.extend(self.refusals());
        lines
    }

    fn looks_at_one(&self) -> Vec<String> {
        let Self { migrated, ready, drain, .. } = self;
        let (two, nine) = (tenant(2), tenant(9));
        vec![
            format!("migration watch {migrated}"),
            format!("migration baseline {ready} --show"),
            format!("migration verify {ready}"),
            format!("checklist cutover {ready}"),
            format!("checklist after {migrated}"),
            format!("plan --tenant {nine} --to dedicated"),
            format!("plan --tenant {two} --to dedicated"),
            format!("estimate --tenant {nine} --to dedicated --probe"),
            format!("tenant remove {nine} --dry-run"),
            format!("drain show {drain}"),
            format!("drain show {drain} --state set_aside"),
            format!("drain show {drain} --state moved"),
            format!("drain watch {drain}"),
        ]
    }

    fn changes(&self) -> Vec<String> {
        let Self { migrated, ready, paused, failed, under_way, drain, .. } = self;
        let (one, nine, ten) = (tenant(1), tenant(9), tenant(10));
        vec![
            format!("migration tune {paused} --copy-rate-max 0"),
            format!("migration resume {paused}"),
            format!("migration cutover {ready}"),
            format!("migration return {migrated}"),
            format!("migration acknowledge {failed}"),
            format!("migration abort {failed} --purge-target"),
            format!("migration pause {under_way}"),
            format!("migration start --tenant {nine} --to dedicated --rollback-window 1h"),
            format!("drain retry {drain}"),
            format!("drain tune {drain} --concurrency 2"),
            format!("drain pause {drain}"),
            format!("drain resume {drain}"),
            format!("drain cancel {drain}"),
            format!("tenant pin {nine} --why \"a contract that ends in March\""),
            format!("tenant show {nine}"),
            format!("tenant unpin {nine}"),
            format!("tenant purge {nine} --store shared"),
            format!("tenant purge {nine} --store shared --close-window"),
            format!("tenant remove {ten} --events 41"),
            format!("tenant remove {ten} --events 40"),
            "store cordon dedicated --why \"the machine is retired\"".to_owned(),
            "drain start --from shared --to dedicated".to_owned(),
            "store uncordon dedicated".to_owned(),
            "token create --role operator --name alice --expires 90d".to_owned(),
            "token create --role tenant --name shop --tenant acme --store shared".to_owned(),
            "token create --role viewer --name grafana --for-configuration".to_owned(),
            "token list".to_owned(),
            "token rotate alice --keep-old-for 10m".to_owned(),
            "token revoke alice".to_owned(),
            "token open --reason \"a test of the open gate\"".to_owned(),
            format!("export --tenant {one} history.ndjson.gz"),
            format!("export --tenant {one} history.ndjson.gz"),
            "import all.ndjson".to_owned(),
            "monitoring export monitoring".to_owned(),
            "man pages".to_owned(),
            "init --config other/rehome.toml".to_owned(),
            "quickstart --exit --tenants 1 --events 500 --writers 2 --rate 50 --dir quick"
                .to_owned(),
        ]
    }

    fn refusals(&self) -> Vec<String> {
        let (ready, one) = (&self.ready, tenant(1));
        vec![
            "init".to_owned(),
            "serve --config nowhere.toml".to_owned(),
            "migration drive --server http://127.0.0.1:1".to_owned(),
            "health --server http://127.0.0.1:1".to_owned(),
            format!("migration repair {ready}"),
            format!("migration show {one}"),
            "migration show 17".to_owned(),
            "migration shwo".to_owned(),
            "store create dedicated".to_owned(),
            "store adopt shared".to_owned(),
            "store release shared".to_owned(),
            format!("tenant unguard {one}"),
            format!("tenant checkpoints {one} --from shared --to dedicated"),
            format!("tenant position {one} --position 5 --from shared --to dedicated"),
            "store layout guess postgres://rehome@127.0.0.1:1/shop events".to_owned(),
        ]
    }

    /// What each line prints on a terminal of so many columns.
    fn printed(&self, columns: u16, lines: &[String]) -> Vec<String> {
        let program = env!("CARGO_BIN_EXE_rehome");
        let mut script = format!("stty cols {columns} rows 50\n");
        for line in lines {
            let _ = writeln!(script, "'{program}' {line} </dev/null; echo '{MARK}'");
        }
        self.place.write("commands.sh", script);
        let ours = self.place.command([]);
        let mut terminal = Command::new("script");
        terminal.args(["-qec", "sh commands.sh", "/dev/null"]);
        terminal.current_dir(ours.get_current_dir().unwrap()).env("TERM", "xterm");
        terminal.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        terminal.stdin(std::process::Stdio::null());
        let output = terminal.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let printed: Vec<String> = text.split(MARK).map(str::to_owned).collect();
        assert_eq!(printed.len(), lines.len() + 1, "{text}");
        printed
    }
}

/// Between what two commands print.
const MARK: &str = "<<end of a command>>";

/// The commands that do something, of the pages that the program writes.
fn commands(place: &Place) -> Vec<String> {
    let pages = place.json(["man", "list"]);
    let mut names: Vec<String> = pages
        .as_array()
        .unwrap()
        .iter()
        .map(|page| page.as_str().unwrap().trim_start_matches("rehome").replace('-', " "))
        .map(|name| name.trim_end_matches(".1").trim().to_owned())
        .collect();
    names.sort();
    names
}

fn is_group(name: &str, all: &[String]) -> bool {
    name.is_empty() || all.iter().any(|other| other.starts_with(&format!("{name} ")))
}

/// The lines as they stand on the terminal at some time, without what colours and moves.
fn shown(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        let sequence = &rest[at + 1..];
        let end = sequence.find(|sign: char| sign.is_ascii_alphabetic()).map_or(0, |end| end + 1);
        // What moves the cursor or clears a line begins another one.
        if !sequence[..end].ends_with('m') {
            plain.push('\n');
        }
        rest = &sequence[end..];
    }
    plain.push_str(rest);
    plain.split(['\n', '\r']).map(|line| line.trim_end().to_owned()).collect()
}

/// A word, or a command between backticks, that is longer than the terminal and has a line of its own.
fn stays_whole(line: &str) -> bool {
    let is_word = !line.contains(' ');
    let is_command =
        line.starts_with('`') && line.rfind('`').is_some_and(|end| !line[end..].contains(' '));
    // A line for the configuration.
    is_word || is_command || line.starts_with("sha256 = ")
}

/// Bars are rows without line ends, each filled up with spaces: none ends within a word.
fn is_of_bars(text: &str, columns: usize) -> bool {
    let signs: Vec<char> = text.chars().collect();
    let ends = (columns..signs.len()).step_by(columns);
    let begins_a_bar = |rest: &[char]| {
        let word = rest.iter().take_while(|sign| !sign.is_whitespace()).count();
        // The space after the last one is cut off above.
        rest.len() == word || rest[word..].starts_with(&[' ', ' '])
    };
    let is_clean =
        |end: usize| signs[end - 1] == ' ' || signs[end] == ' ' || begins_a_bar(&signs[end..]);
    (text.contains(" %") || text.contains("writers")) && ends.into_iter().all(is_clean)
}

#[test]
fn every_command_fits_a_terminal_of_80_and_of_60_columns() {
    let mut wrong = String::new();
    for columns in [80, 60] {
        let scene = Scene::set();
        let names = commands(&scene.place);
        let outputs = scene.lines();
        let without = names.iter().filter(|name| {
            let is_run = |line: &String| line == *name || line.starts_with(&format!("{name} "));
            !is_group(name, &names)
                && !FILES.contains(&name.as_str())
                && !outputs.iter().any(is_run)
        });
        let without: Vec<_> = without.collect();
        assert!(without.is_empty(), "commands without a line in this test: {without:?}");
        let helps = names.iter().flat_map(|name| [format!("{name} --help"), format!("{name} -h")]);
        let lines: Vec<String> = helps.chain(outputs).collect();
        let printed = scene.printed(columns, &lines);
        for (line, text) in lines.iter().zip(&printed) {
            let shown = shown(text);
            if let Some(folder) = std::env::var_os("REHOME_SCREENS") {
                let screen = format!("$ rehome {line}\n{}\n\n", shown.join("\n"));
                let file = std::path::Path::new(&folder).join(format!("{columns}.txt"));
                let mut file =
                    std::fs::File::options().append(true).create(true).open(file).unwrap();
                std::io::Write::write_all(&mut file, screen.as_bytes()).unwrap();
            }
            let long = shown.iter().filter(|line| line.chars().count() > usize::from(columns));
            let is_good = |line: &str| stays_whole(line) || is_of_bars(line, usize::from(columns));
            for long in long.filter(|long| !is_good(long)) {
                let _ = writeln!(wrong, "{columns}: {line}: {long}");
            }
            assert!(shown.iter().any(|line| !line.is_empty()), "{line} prints nothing");
        }
    }
    assert!(wrong.is_empty(), "longer than the terminal:\n{wrong}");
}
