//! A layout as the text of its file.

use std::fmt::Write as _;

use rehome_domain::layout::{Layout, TenantPart};

use super::file::word;

/// Where the comments begin, if there is room.
const COMMENT_AT: usize = 36;

/// Lines of TOML.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// A line as it is.
    pub(super) fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// A comment, in lines of its own.
    pub(super) fn remark(&mut self, text: &str) {
        for line in text.lines() {
            // Writing to a String cannot fail.
            let _ = writeln!(self.0, "# {}", on_one_line(line));
        }
    }

    /// A key with its value, and why it has that.
    pub(super) fn set(&mut self, key: &str, value: &str, why: &str) {
        let set = format!("{key} = {value}");
        let _ = if why.is_empty() {
            writeln!(self.0, "{set}")
        } else {
            writeln!(self.0, "{set:<COMMENT_AT$} # {}", on_one_line(why))
        };
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// A foreign name cannot end a comment.
fn on_one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// A string of TOML.
pub(super) fn string(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for c in text.chars() {
        match c {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(written, "\\u{:04X}", u32::from(c));
            }
            c => written.push(c),
        }
    }
    written.push('"');
    written
}

/// A string, or a list where there are several.
pub(super) fn strings(texts: &[String]) -> String {
    match texts {
        [one] => string(one),
        all => list(all),
    }
}

/// A list, also of one.
fn list(texts: &[String]) -> String {
    let all: Vec<_> = texts.iter().map(|text| string(text)).collect();
    format!("[{}]", all.join(", "))
}

/// Where the tenant is, as the value of its key.
pub(super) fn tenant(part: &TenantPart) -> String {
    match part {
        TenantPart::Column(name) => string(name),
        TenantPart::Json { column, key } => {
            format!("{{ column = {}, key = {} }}", string(column), string(key))
        }
        TenantPart::Prefix { separator } => format!("{{ prefix = {} }}", string(separator)),
    }
}

/// The layout's file; `why` returns each key's comment.
pub(super) fn layout(layout: &Layout, why: impl Fn(&str) -> String) -> String {
    let mut text = Text::default();
    let one = |name: &Option<String>| name.as_deref().map(string);
    for (key, value) in [
        ("name", string(&layout.name)),
        ("schema", string(&layout.schema)),
        ("table", string(&layout.table)),
        ("first_version", layout.first_version.to_string()),
    ] {
        text.set(key, &value, &why(key));
    }
    if layout.locks_table {
        text.set("locks_table", "true", &why("locks_table"));
    }
    text.line("");
    text.line("[columns]");
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            text.set(key, &value, &why(&format!("columns.{key}")));
        }
    };
    set("tenant", Some(tenant(&layout.tenant)));
    set("stream_type", one(&layout.stream_type));
    set("stream_id", Some(strings(&layout.stream_id)));
    set("version", Some(string(&layout.version)));
    set("position", one(&layout.position));
    set("event_id", one(&layout.event_id));
    set("event_type", Some(string(&layout.event_type)));
    set("occurred_at", one(&layout.occurred_at));
    set("recorded_at", one(&layout.recorded_at));
    set("data", Some(string(&layout.data)));
    set("metadata", one(&layout.metadata));
    if !layout.anew.is_empty() {
        set("anew", Some(list(&layout.anew)));
    }
    for beside in &layout.beside {
        text.line("");
        text.line("[[beside]]");
        let key = format!("beside.{}", beside.table);
        text.set("kind", &string(word(beside.kind)), &why(&key));
        text.set("table", &string(&beside.table), "");
        for (key, name) in [("tenant", &beside.tenant), ("position", &beside.position)] {
            if let Some(name) = name {
                text.set(key, &string(name), "");
            }
        }
        if let Some(heads) = &beside.heads {
            text.set("stream_id", &strings(&heads.stream_id), "");
            text.set("version", &string(&heads.version), "");
            for (key, names) in [("same", &heads.same), ("travels", &heads.travels)] {
                if !names.is_empty() {
                    text.set(key, &list(names), "");
                }
            }
        }
    }
    text.into_string()
}
