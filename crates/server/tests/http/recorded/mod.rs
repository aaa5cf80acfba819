//! The API as clients hold on to it: `clients/openapi.json`, and what may become of it.

mod rules;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::kit::Site;
use rules::breaks;

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/openapi.json")
}

/// An addition is recorded with REHOME_WRITE_DOCS=1. What breaks a client cannot be recorded.
#[tokio::test]
async fn what_clients_hold_on_to_stays_and_what_is_new_is_recorded() {
    let site = Site::new().await;
    let served = site.get("/openapi.json").await.is(200);
    site.ends().await;
    let writes = std::env::var_os("REHOME_WRITE_DOCS").is_some();
    let before: Value = serde_json::from_str(&fs::read_to_string(recorded()).unwrap()).unwrap();
    let broken = breaks(&before, &served);
    assert!(
        broken.is_empty(),
        "this breaks clients of the API in clients/openapi.json:\n  {}\nKeep what was there and add beside \
         it. What has to go needs a path of a next version.",
        broken.join("\n  ")
    );
    let page = requests(&served);
    if writes {
        fs::write(recorded(), format!("{served:#}\n")).unwrap();
        fs::write(page_of_requests(), page).unwrap();
        return;
    }
    assert!(
        fs::read_to_string(page_of_requests()).unwrap_or_default() == page,
        "docs/requests.md is stale: REHOME_WRITE_DOCS=1 cargo test -p rehome-server --test http recorded"
    );
    // Words may change without anybody who holds on to them.
    assert!(
        without_words(before) == without_words(served),
        "the API has something that clients/openapi.json does not, and it breaks nobody. To record it: \
         REHOME_WRITE_DOCS=1 cargo test -p rehome-server --test http recorded, and then \
         python3 clients/generate.py; a new operation gets a method in both clients"
    );
}

fn page_of_requests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/requests.md")
}

/// Every request, in Markdown.
fn requests(document: &Value) -> String {
    let mut page = "# Requests\n\nEvery request of the API. This page is generated from the descriptions of the handlers \
                    (`/openapi.json`); a test fails when it is stale. [http.md](http.md) describes what a correct client \
                    does.\n\n| request | effect |\n|---|---|\n"
        .to_owned();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            let Some(operation) = operations.get(method) else { continue };
            let text = |name: &str| operation[name].as_str().unwrap_or_default();
            let words = [text("summary").trim_end_matches('.'), text("description")];
            let words: Vec<_> = words.into_iter().filter(|words| !words.is_empty()).collect();
            let words = words.join(". ").replace('\n', " ").replace('|', "\\|");
            let _ = writeln!(page, "| `{} {path}` | {words} |", method.to_uppercase());
        }
    }
    page
}

fn without_words(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, value)| {
                !(value.is_string() && ["description", "summary"].contains(&name.as_str()))
            });
            Value::Object(kept.map(|(name, value)| (name, without_words(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_words).collect(),
        other => other,
    }
}

/// One operation with what an API has.
fn document() -> Value {
    json!({
        "paths": {"/things/{id}": {"post": {
            "parameters": [
                {"name": "id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}},
                {"name": "limit", "in": "query", "required": false, "schema": {"type": "integer", "maximum": 100}},
            ],
            "requestBody": {"required": false, "content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/Asked"}}}},
            "responses": {
                "200": {"headers": {"ETag": {}}, "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Thing"}}}},
                "404": {"content": {"application/problem+json": {}}},
            },
        }}},
        "components": {"schemas": {
            "Asked": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string", "maxLength": 10},
                "how": {"type": "string", "enum": ["slow", "fast"]},
                "why": {"type": ["string", "null"]},
            }},
            "Owner": {"type": "object", "properties": {"name": {"type": "string"}}},
            "Thing": {"type": "object", "required": ["id", "parts"], "properties": {
                "id": {"type": "string"},
                "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                "state": {"type": "string", "enum": ["open", "shut"]},
                "owner": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Owner"}]},
            }},
        }},
    })
}

#[test]
fn what_breaks_a_client_is_found() {
    let operation = "/paths/~1things~1{id}/post";
    let schemas = "/components/schemas";
    let remove = |at: &str| (at.to_owned(), None);
    let set = |at: &str, value: Value| (at.to_owned(), Some(value));
    let body = format!("{operation}/requestBody");
    let answers = format!("{operation}/responses");
    let changes = [
        (remove("/paths/~1things~1{id}"), "gone: /things/{id}"),
        (remove(operation), "gone: POST /things/{id}"),
        (remove(&format!("{operation}/parameters/1")), "its parameter limit is gone"),
        (set(&format!("{operation}/parameters/1/required"), json!(true)), "limit is required"),
        (set(&format!("{operation}/parameters/1/schema/maximum"), json!(50)), "limit: maximum"),
        (set(&format!("{operation}/parameters/0/schema/format"), json!("date")), "id: format"),
        (set(&format!("{operation}/parameters/0/name"), json!("key")), "its parameter id is gone"),
        (set(&format!("{body}/required"), json!(true)), "its body is required"),
        (remove(&body), "its body is gone"),
        (remove(&format!("{answers}/404")), "its answer 404 is gone"),
        (set(&format!("{answers}/202"), json!({})), "a new answer 202"),
        (remove(&format!("{answers}/200/headers/ETag")), "its header ETag is gone"),
        (remove(&format!("{answers}/200/content/application~1json")), "no application/json"),
        (set(&format!("{schemas}/Asked/required"), json!(["name", "how"])), "how is required"),
        (remove(&format!("{schemas}/Asked/properties/why")), "why is gone"),
        (set(&format!("{schemas}/Asked/properties/name/maxLength"), json!(5)), "name: maxLength"),
        (set(&format!("{schemas}/Asked/properties/name/pattern"), json!("^a")), "name: pattern"),
        (
            set(&format!("{schemas}/Asked/properties/how/enum"), json!(["slow"])),
            "no longer \"fast\"",
        ),
        (set(&format!("{schemas}/Asked/properties/why/type"), json!("string")), "why: its type"),
        (
            set(&format!("{schemas}/Asked/properties/why/enum"), json!(["so"])),
            "why: only some values",
        ),
        (set(&format!("{schemas}/Thing/required"), json!(["id"])), "parts may be missing"),
        (remove(&format!("{schemas}/Thing/properties/id")), "id is gone"),
        (set(&format!("{schemas}/Thing/properties/id/type"), json!("integer")), "id: its type"),
        (
            set(&format!("{schemas}/Thing/properties/id/type"), json!(["string", "null"])),
            "id: its type",
        ),
        (
            set(&format!("{schemas}/Thing/properties/state/enum"), json!(["open"])),
            "no longer \"shut\"",
        ),
        (
            set(&format!("{schemas}/Thing/properties/parts/items"), json!({"type": "string"})),
            "parts[]",
        ),
        (
            set(&format!("{schemas}/Thing/properties/owner/oneOf/0"), json!({"type": "string"})),
            "owner: ",
        ),
    ];
    for ((at, value), words) in changes {
        let mut changed = document();
        change(&mut changed, &at, value);
        let found = breaks(&document(), &changed);
        assert!(found.iter().any(|one| one.contains(words)), "{at}: {words}: {found:?}");
    }
}

#[test]
fn what_breaks_nobody_is_let_through() {
    let operation = "/paths/~1things~1{id}/post";
    let schemas = "/components/schemas";
    let optional = json!({"name": "new", "in": "query", "schema": {"type": "string"}});
    let changes = [
        ("/paths/~1more".to_owned(), json!({"get": {}})),
        (format!("{operation}/parameters/2"), optional),
        (format!("{operation}/parameters/1/schema/maximum"), json!(200)),
        (format!("{operation}/responses/429"), json!({})),
        (format!("{operation}/summary"), json!("other words")),
        (format!("{schemas}/Asked/properties/more"), json!({"type": "string"})),
        (format!("{schemas}/Asked/required"), json!([])),
        (format!("{schemas}/Asked/properties/how/enum"), json!(["slow", "fast", "faster"])),
        (format!("{schemas}/Thing/properties/more"), json!({"type": "string"})),
        (format!("{schemas}/Thing/required"), json!(["id", "parts", "state"])),
        (format!("{schemas}/Thing/properties/state/enum"), json!(["open", "shut", "ajar"])),
    ];
    for (at, value) in changes {
        let mut changed = document();
        change(&mut changed, &at, Some(value));
        let found = breaks(&document(), &changed);
        assert!(found.is_empty(), "{at}: {found:?}");
    }
    assert!(breaks(&document(), &document()).is_empty());
}

/// Sets or removes the value at a JSON pointer.
fn change(document: &mut Value, at: &str, value: Option<Value>) {
    let (above, last) = at.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/");
    match (document.pointer_mut(above).unwrap(), value) {
        (Value::Object(fields), Some(value)) => drop(fields.insert(last, value)),
        (Value::Object(fields), None) => drop(fields.remove(&last).unwrap()),
        (Value::Array(items), None) => drop(items.remove(last.parse().unwrap())),
        (Value::Array(items), Some(value)) => match items.get_mut(last.parse::<usize>().unwrap()) {
            Some(item) => *item = value,
            None => items.push(value),
        },
        (other, _) => panic!("nothing can be changed in {other}"),
    }
}
