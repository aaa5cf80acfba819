//! Plain English in what people read: the documentation; in the released crates doc comments (which become
//! `--help` and OpenAPI descriptions) and string literals (errors, pages, log lines); and the SQL, scripts, clients and
//! shipped files, with their comments.
//!
//! Names in Rust code are not checked, nor texts between backticks.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::leftovers::files;

/// Words that make a reader stumble, with what to write instead. They hide the actor, or have another meaning
/// everywhere else.
const WORDS: [(&str, &str); 13] = [
    ("told", "reported, notified, returned, configured"),
    ("tells", "reports, returns, shows"),
    ("whoever", "the process that, the caller, anyone who"),
    ("somebody", "an operator, a process, a caller"),
    ("nobody", "no process, no operator, no caller"),
    ("everybody", "every process, every caller"),
    ("anybody", "any process, anyone"),
    ("goes on", "continues"),
    ("gone on with", "continued"),
    ("gives up that", "allows"),
    ("is asked", "is queried, gets a request"),
    ("of ours", "of rehome, or the name of the component"),
    ("mended", "repaired, fixed"),
];

/// Files of which every line is checked: SQL, the clients, scripts and configurations. The empty one: without an extension.
const PLAIN: [&str; 16] = [
    "", "conf", "css", "env", "html", "js", "mjs", "py", "service", "sh", "sql", "toml", "tpl",
    "ts", "yaml", "yml",
];

/// One line for each such word in the documentation and the crates under `root`.
pub(crate) fn find(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in files(root, &[&["rs", "md"][..], &PLAIN].concat())? {
        let name = path.strip_prefix(root).unwrap_or(&path);
        if !is_checked(name) {
            continue;
        }
        let name = name.display();
        let text = fs::read_to_string(&path).with_context(|| format!("{name} is not readable"))?;
        let prose = match path.extension().and_then(OsStr::to_str) {
            Some("rs") => of_rust(&text),
            Some("md") => of_markdown(&text),
            _ => (1..).zip(text.lines().map(str::to_owned)).collect(),
        };
        for (line, text) in prose {
            for (word, instead) in words(&text) {
                found.push(format!("{name}:{line} has \"{word}\"; write: {instead}"));
            }
        }
    }
    Ok(found)
}

/// Documentation, the released parts of the crates, the clients and what is shipped: no tests, and no kits for tests.
fn is_checked(name: &Path) -> bool {
    let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
    let among = |wanted: &[&str]| parts.iter().any(|part| wanted.contains(&part.as_ref()));
    let kits = ["tests", "test", "tests.rs", "contract", "fault", "memory", "fake.rs", "examples"];
    let (first, last) = (parts[0].as_ref(), parts[parts.len() - 1].as_ref());
    let ends_with = |wanted: &str| name.extension().is_some_and(|extension| extension == wanted);
    let is_doc = ends_with("md");
    if parts.len() == 1 {
        return is_doc || last == "x" || ends_with("toml");
    }
    match first {
        "docs" => true,
        "crates" if is_doc || ends_with("toml") => true,
        "crates" => among(&["src"]) && !among(&kits),
        // Licences are quoted as they are.
        "clients" | "packaging" | "monitoring" => {
            !among(&["tests", "test", "node_modules", "copyright"])
        }
        _ => false,
    }
}

/// The words that a text has, outside of backticks. An identifier is one word.
fn words(text: &str) -> Vec<(&'static str, &'static str)> {
    let prose: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" ").to_lowercase();
    let is_part =
        |sign: Option<char>| sign.is_some_and(|sign| sign.is_alphanumeric() || sign == '_');
    let has = |word: &str| {
        prose.match_indices(word).any(|(at, _)| {
            !is_part(prose[..at].chars().next_back())
                && !is_part(prose[at + word.len()..].chars().next())
        })
    };
    WORDS.into_iter().filter(|(word, _)| has(word)).collect()
}

/// The lines of a page, without its code.
fn of_markdown(text: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with("    ")
    });
    lines.map(|(number, line)| (number, line.to_owned())).collect()
}

/// The comments and string literals of a source, by the line on which they begin; not of its test module.
fn of_rust(text: &str) -> Vec<(usize, String)> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut found = Vec::new();
    let (mut line, mut rest) = (1, text);
    while let Some(first) = rest.chars().next() {
        let (taken, prose) = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            (end, Some(&rest[..end]))
        } else if let Some(raw) = raw_string(rest) {
            (raw, Some(&rest[..raw]))
        } else if first == '"' {
            let end = end_of_string(rest);
            (end, Some(&rest[..end]))
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            (rest[1..].find('\'').map_or(1, |end| end + 2), None)
        } else {
            (first.len_utf8(), None)
        };
        // A literal of one word is a name.
        let prose = prose.filter(|prose| prose.contains(' '));
        found.extend(prose.map(|prose| (line, prose.replace("\\n", " "))));
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    found
}

fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How long the raw string is with which `text` begins, if it does.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    let inside = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    let start = text.len() - inside.len();
    Some(inside.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{WORDS, is_checked, of_markdown, of_rust, words};

    fn found(prose: Vec<(usize, String)>) -> Vec<(usize, &'static str)> {
        let of = |(line, text): (usize, String)| words(&text).into_iter().map(move |w| (line, w.0));
        prose.into_iter().flat_map(of).collect()
    }

    #[test]
    fn each_word_is_found_in_a_page_a_comment_and_a_string() {
        for (word, _) in WORDS {
            assert_eq!(found(of_markdown(&format!("fine\nThis {word}.\n"))), [(2, word)]);
            assert_eq!(found(of_rust(&format!("let a = 1;\n/// This {word}.\n"))), [(2, word)]);
            assert_eq!(found(of_rust(&format!("say(\"fine \\\n    {word} fine\")"))), [(1, word)]);
            assert_eq!(found(of_rust(&format!("say(r#\"a \" {word}\"#)"))), [(1, word)]);
        }
    }

    #[test]
    fn code_names_and_tests_are_left_alone() {
        let page = "`told_for` and told_for\n\n    told\n\n```\ntold\n```\nfine\n";
        assert_eq!(found(of_markdown(page)), []);
        let source = "let told = '\"'; say(\"told\"); // `told` is a name\nfn tells() {}\n#[cfg(test)]\nmod tests { // told\n}";
        assert_eq!(found(of_rust(source)), []);
        assert!(!is_checked(Path::new("crates/engine/tests/metrics.rs")));
        assert!(is_checked(Path::new("crates/engine/src/lib.rs")));
        assert!(!is_checked(Path::new("clients/python/tests/test_moves.py")));
        for checked in [
            "README.md",
            "x",
            "docs/monitoring/alerts.md",
            "crates/rehome/README.md",
            "crates/api/Cargo.toml",
            "crates/adapters/postgres/src/schema/store/append.sql",
            "crates/server/src/console/assets/console.js",
            "clients/python/src/rehome_client/_async/migrations.py",
            "packaging/systemd/rehome.service",
            "monitoring/prometheus.yml",
        ] {
            assert!(is_checked(Path::new(checked)), "{checked}");
        }
    }
}
