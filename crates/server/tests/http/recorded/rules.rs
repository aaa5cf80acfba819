//! The parts of an API description that may not be removed, and those that may not be narrowed.
//!
//! Requests of clients must stay valid, and responses must stay known to them. A value that
//! is added to an enumeration breaks no client: clients accept values that they do not know.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Who writes what a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Client,
    Server,
}

/// How clients of `old` are broken by `new`, a sentence each.
pub(super) fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (path, methods) in fields(&old["paths"]) {
        let Some(now) = new["paths"].get(path) else {
            found.push(format!("gone: {path}"));
            continue;
        };
        for (method, operation) in fields(methods) {
            let name = format!("{} {path}", method.to_ascii_uppercase());
            match now.get(method) {
                None => found.push(format!("gone: {name}")),
                Some(now) => {
                    let mut compared =
                        Compared { old, new, found: Vec::new(), seen: HashSet::new() };
                    compared.operation(operation, now);
                    found.extend(compared.found.into_iter().map(|what| format!("{name}: {what}")));
                }
            }
        }
    }
    found
}

struct Compared<'a> {
    old: &'a Value,
    new: &'a Value,
    found: Vec<String>,
    /// Pairs of named schemas that were compared: some contain themselves.
    seen: HashSet<(Writer, String, String)>,
}

impl<'a> Compared<'a> {
    fn finds(&mut self, what: String) {
        if !self.found.contains(&what) {
            self.found.push(what);
        }
    }

    fn operation(&mut self, old: &'a Value, new: &'a Value) {
        self.parameters(&old["parameters"], &new["parameters"]);
        match (old.get("requestBody"), new.get("requestBody")) {
            (Some(_), None) => self.finds("its body is gone".to_owned()),
            (None, Some(body)) if is_required(body) => {
                self.finds("its body is required".to_owned());
            }
            (Some(before), Some(now)) => {
                if is_required(now) && !is_required(before) {
                    self.finds("its body is required".to_owned());
                }
                self.content(Writer::Client, "its body", before, now);
            }
            _ => {}
        }
        for (status, answer) in fields(&old["responses"]) {
            let name = format!("its answer {status}");
            let Some(now) = new["responses"].get(status) else {
                self.finds(format!("{name} is gone"));
                continue;
            };
            for (header, _) in fields(&answer["headers"]) {
                if now["headers"].get(header).is_none() {
                    self.finds(format!("{name}: its header {header} is gone"));
                }
            }
            self.content(Writer::Server, &name, answer, now);
        }
        for (status, _) in fields(&new["responses"]) {
            if status.starts_with('2') && old["responses"].get(status).is_none() {
                self.finds(format!("a new answer {status}, which its clients do not know"));
            }
        }
    }

    fn parameters(&mut self, old: &'a Value, new: &'a Value) {
        let same = |a: &Value, b: &Value| a["name"] == b["name"] && a["in"] == b["in"];
        for before in items(old) {
            let name = text(&before["name"]);
            let Some(now) = items(new).find(|now| same(before, now)) else {
                self.finds(format!("its parameter {name} is gone"));
                continue;
            };
            if is_required(now) && !is_required(before) {
                self.finds(format!("{name} is required"));
            }
            self.schema(Writer::Client, name, &before["schema"], &now["schema"]);
        }
        for now in items(new) {
            if is_required(now) && !items(old).any(|before| same(before, now)) {
                self.finds(format!("{} is required", text(&now["name"])));
            }
        }
    }

    fn content(&mut self, writer: Writer, name: &str, old: &'a Value, new: &'a Value) {
        for (kind, before) in fields(&old["content"]) {
            match new["content"].get(kind) {
                None => self.finds(format!("{name}: no {kind} any more")),
                Some(now) => self.schema(writer, name, &before["schema"], &now["schema"]),
            }
        }
    }

    fn schema(&mut self, writer: Writer, at: &str, old: &'a Value, new: &'a Value) {
        if let (Some(before), Some(now)) = (old["$ref"].as_str(), new["$ref"].as_str())
            && !self.seen.insert((writer, before.to_owned(), now.to_owned()))
        {
            return;
        }
        let (old, new) = (behind(self.old, old), behind(self.new, new));
        self.kinds(writer, at, old, new);
        self.values(writer, at, old, new);
        if writer == Writer::Client {
            self.bounds(at, old, new);
        }
        self.variants(writer, at, old, new);
        self.object(writer, at, old, new);
        if let (Some(before), Some(now)) = (old.get("items"), new.get("items")) {
            self.schema(writer, &format!("{at}[]"), before, now);
        }
        let more = "additionalProperties";
        if let (Some(before), Some(now)) = (old.get(more), new.get(more)) {
            self.schema(writer, &format!("{at}{{}}"), before, now);
        }
    }

    /// Types: clients may send what they sent, and are sent nothing of another type.
    fn kinds(&mut self, writer: Writer, at: &str, old: &Value, new: &Value) {
        let (before, now) = (kinds(old), kinds(new));
        let (sent, taken) =
            if writer == Writer::Client { (&before, &now) } else { (&now, &before) };
        let fits =
            |kind: &&str| taken.contains(kind) || (*kind == "integer" && taken.contains(&"number"));
        // A schema without a type accepts any.
        if !taken.is_empty() && (sent.is_empty() || !sent.iter().all(fits)) {
            self.finds(format!("{at}: its type was {before:?} and is {now:?}"));
        }
        if old.get("format") != new.get("format") && old.get("format").is_some() {
            self.finds(format!("{at}: format was {} and is {}", old["format"], new["format"]));
        }
    }

    fn values(&mut self, writer: Writer, at: &str, old: &Value, new: &Value) {
        let Some(now) = new["enum"].as_array() else { return };
        let Some(before) = old["enum"].as_array() else {
            if writer == Writer::Client {
                self.finds(format!("{at}: only some values any more"));
            }
            return;
        };
        for value in before.iter().filter(|value| !now.contains(value)) {
            self.finds(format!("{at}: no longer {value}"));
        }
    }

    fn bounds(&mut self, at: &str, old: &Value, new: &Value) {
        for (bound, is_upper) in [
            ("maximum", true),
            ("maxLength", true),
            ("maxItems", true),
            ("minimum", false),
            ("minLength", false),
            ("minItems", false),
        ] {
            let Some(now) = new[bound].as_f64() else { continue };
            let before = old[bound].as_f64();
            let narrower =
                before.is_none_or(|before| if is_upper { now < before } else { now > before });
            // A bound without a value is none.
            if narrower && (is_upper || now > 0.0 || before.is_some()) {
                self.finds(format!("{at}: {bound} is {now} now"));
            }
        }
        if new.get("pattern").is_some() && new.get("pattern") != old.get("pattern") {
            self.finds(format!("{at}: pattern is {} now", new["pattern"]));
        }
    }

    /// Of several forms, each that there was is there, and the server writes no other.
    fn variants(&mut self, writer: Writer, at: &str, old: &'a Value, new: &'a Value) {
        let (before, now) = (variants(old), variants(new));
        for one in &before {
            if !now.iter().any(|other| self.fits(writer, one, other)) {
                self.finds(format!("{at}: no longer {}", short(one)));
            }
        }
        for one in now.iter().filter(|_| writer == Writer::Server && !before.is_empty()) {
            if !before.iter().any(|other| self.fits(writer, other, one)) {
                self.finds(format!("{at}: a new form, {}", short(one)));
            }
        }
    }

    fn fits(&self, writer: Writer, old: &'a Value, new: &'a Value) -> bool {
        let seen = self.seen.clone();
        let mut compared = Compared { old: self.old, new: self.new, found: Vec::new(), seen };
        compared.schema(writer, "", old, new);
        compared.found.is_empty()
    }

    fn object(&mut self, writer: Writer, at: &str, old: &'a Value, new: &'a Value) {
        let (before, now) = (Object::of(self.old, old), Object::of(self.new, new));
        for (name, schema) in &before.fields {
            let path = format!("{at}: {name}");
            match now.fields.iter().find(|(other, _)| other == name) {
                None => self.finds(format!("{path} is gone")),
                Some((_, now)) => self.schema(writer, &path, schema, now),
            }
        }
        let (more, words) = match writer {
            Writer::Client => (now.required.difference(&before.required), "is required"),
            Writer::Server => (before.required.difference(&now.required), "may be missing"),
        };
        let more: Vec<_> = more.map(|name| format!("{at}: {name} {words}")).collect();
        for what in more {
            self.finds(what);
        }
    }
}

/// The fields of an object, with those of what it is made of.
#[derive(Default)]
struct Object<'a> {
    fields: Vec<(&'a str, &'a Value)>,
    required: HashSet<&'a str>,
}

impl<'a> Object<'a> {
    fn of(document: &'a Value, schema: &'a Value) -> Self {
        let schema = behind(document, schema);
        let mut object = Self::default();
        for part in items(&schema["allOf"]) {
            let part = Self::of(document, part);
            object.fields.extend(part.fields);
            object.required.extend(part.required);
        }
        object.fields.extend(fields(&schema["properties"]));
        object.required.extend(items(&schema["required"]).map(text));
        object
    }
}

/// The schema that a reference names.
fn behind<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|at| at.strip_prefix('#'));
    name.map_or(schema, |at| behind(document, document.pointer(at).unwrap_or(&Value::Null)))
}

fn kinds(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        kinds => items(kinds).map(text).collect(),
    }
}

fn variants(schema: &Value) -> Vec<&Value> {
    items(&schema["oneOf"]).chain(items(&schema["anyOf"])).collect()
}

fn short(schema: &Value) -> String {
    schema["$ref"].as_str().map_or_else(|| schema.to_string(), ToOwned::to_owned)
}

fn is_required(value: &Value) -> bool {
    value["required"] == true
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn fields(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}
