//! The file that `rehome init` writes: the required keys, and every other key as a comment.

use std::fmt::Write as _;

use rehome_domain::ids::StoreId;

use super::keys::{self, Entry, Section, Shape};

/// What a new configuration begins with.
#[derive(Clone, Debug)]
pub struct Template {
    /// The url of the control plane.
    pub control_plane: String,
    /// The stores; the first is the default one.
    pub stores: Vec<TemplateStore>,
}

/// A store of it.
#[derive(Clone, Debug)]
pub struct TemplateStore {
    /// Its name.
    pub id: StoreId,
    /// Its url.
    pub url: String,
}

impl Template {
    /// The text of the file.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# rehome: the control plane, the stores, and all other settings.\n\
             # A key that is commented out has the value shown, or none (\"...\").\n\
             # `rehome config show` prints what is in effect, `rehome config check` finds mistakes, and\n\
             # docs/configuration.md describes every key.\n",
        );
        for section in keys::sections() {
            match section.name {
                "control_plane" => {
                    heading(&mut text, section, false);
                    line(&mut text, "url", &self.control_plane);
                }
                "stores" => self.stores(&mut text, section),
                _ => commented(&mut text, section),
            }
        }
        text
    }

    fn stores(&self, text: &mut String, section: Section) {
        for (number, store) in self.stores.iter().enumerate() {
            if number == 0 {
                heading(text, section, false);
            } else {
                text.push_str("\n[[stores]]\n");
            }
            line(text, "id", store.id.as_str());
            line(text, "url", &store.url);
            if number == 0 {
                text.push_str("default = true\n");
            }
        }
        for entry in keys::of("stores").filter(|entry| entry.name == "layout") {
            comment(text, &entry);
        }
    }
}

fn commented(text: &mut String, section: Section) {
    heading(text, section, true);
    for entry in keys::of(section.name) {
        comment(text, &entry);
    }
}

fn heading(text: &mut String, section: Section, is_comment: bool) {
    let hash = if is_comment { "# " } else { "" };
    let (open, close) = if section.repeats { ("[[", "]]") } else { ("[", "]") };
    text.push('\n');
    for doc in section.doc.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# {}", doc.trim());
    }
    let _ = writeln!(text, "{hash}{open}{}{close}", section.name);
}

fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {}", quoted(value));
}

/// As a basic string of TOML.
fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn comment(text: &mut String, entry: &Entry) {
    let value = match (entry.shape, entry.default()) {
        (Shape::Text, Some(default)) => quoted(&default),
        (_, Some(default)) => default,
        (Shape::Text | Shape::Number | Shape::Decimal | Shape::Flag, None) => "...".to_owned(),
        (Shape::List, None) => "[]".to_owned(),
        (Shape::Map, None) => "{}".to_owned(),
    };
    for doc in entry.doc.lines() {
        let _ = writeln!(text, "#   {}", doc.trim());
    }
    let unit = if entry.unit.is_empty() { String::new() } else { format!("  # {}", entry.unit) };
    let _ = writeln!(text, "# {} = {value}{unit}", entry.name);
}
