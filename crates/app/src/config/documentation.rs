//! docs/configuration.md, from the table of keys.

use std::fmt::Write as _;

use super::keys::{self, Entry, Section};

const HEAD: &str = "\
# Configuration

This page is generated from the table of keys in `crates/app/src/config/keys/table.rs`; a test fails when it
is stale. To write it: `REHOME_WRITE_DOCS=1 cargo test -p rehome-app --test configuration`.

`rehome` reads the file that `--config` names, or `./rehome.toml`. `rehome init` writes one.
`rehome config check` lists every mistake in it, and `rehome config show` prints each value in effect and where
it comes from. Unknown keys and invalid values are errors.

A relative path in the file is relative to the folder of the file; in a variable, to the working directory.
A duration is written like `500ms`, `90s`, `30m`, `1h30m` or `7d`.

**Environment.** A variable overrides its key in the file. A list is separated by commas. Without a file the
environment is the whole configuration. `<ID>` is the id of a store in capitals, with `-` written as `_`. An empty
variable counts as not set. Two variables are no keys: `REHOME_SERVER` names the server, as `--server` does, and
`REHOME_TOKEN` holds the token itself.
";

/// The page, in Markdown.
pub fn documentation() -> String {
    let mut page = HEAD.to_owned();
    for section in keys::sections() {
        let Section { name, repeats, doc } = section;
        let (open, close) = if repeats { ("[[", "]]") } else { ("[", "]") };
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## `{open}{name}{close}`\n\n{}\n\n", one_line(doc));
        page.push_str(
            "| key | type | default | unit | variable | meaning |\n|---|---|---|---|---|---|\n",
        );
        for entry in keys::of(name) {
            row(&mut page, &entry);
        }
    }
    page
}

fn row(page: &mut String, entry: &Entry) {
    let code = |text: Option<String>| text.map_or(String::new(), |text| format!("`{text}`"));
    let _ = writeln!(
        page,
        "| `{}` | {} | {} | {} | {} | {} |",
        entry.name,
        entry.shape.name(),
        code(entry.default()),
        entry.unit,
        code(entry.variable()),
        one_line(entry.doc).replace('|', "\\|"),
    );
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
