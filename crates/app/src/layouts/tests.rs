use std::path::Path;

use rehome_domain::layout::{Beside, TenantPart};

use super::*;

const WHOLE: &str = r#"
name = "orders"
schema = "shop"
table = "Order Events"
first_version = 0
[columns]
tenant = "tenant"
stream_type = "kind"
stream_id = ["year", "no"]
version = "version"
position = "id"
event_id = "event_id"
event_type = "type"
occurred_at = "at"
recorded_at = "created"
data = "payload"
metadata = "meta"
anew = ["txid"]
[[beside]]
kind = "checkpoints"
table = "checkpoints"
tenant = "tenant"
position = "position"
[[beside]]
kind = "outbox"
table = "out"
"#;

fn read(text: &str) -> Result<Layout, String> {
    file::read(Path::new("orders.layout.toml"), text).map_err(|error| error.to_string())
}

fn changed(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    WHOLE.replacen(from, to, 1)
}

#[test]
fn every_key_is_read() {
    let layout = read(WHOLE).unwrap();
    let name = |name: &str| Some(name.to_owned());
    let beside = |kind, table: &str, tenant, position| Beside {
        kind,
        table: table.to_owned(),
        tenant,
        position,
        heads: None,
    };
    let expected = Layout {
        name: "orders".to_owned(),
        schema: "shop".to_owned(),
        table: "Order Events".to_owned(),
        tenant: TenantPart::Column("tenant".to_owned()),
        stream_type: name("kind"),
        stream_id: vec!["year".to_owned(), "no".to_owned()],
        version: "version".to_owned(),
        first_version: 0,
        position: name("id"),
        event_id: name("event_id"),
        event_type: "type".to_owned(),
        occurred_at: name("at"),
        recorded_at: name("created"),
        data: "payload".to_owned(),
        metadata: name("meta"),
        anew: vec!["txid".to_owned()],
        beside: vec![
            beside(BesideKind::Checkpoints, "checkpoints", name("tenant"), name("position")),
            beside(BesideKind::Outbox, "out", None, None),
        ],
        locks_table: false,
    };
    assert_eq!(layout, expected);
    let locks = read(&format!("locks_table = true\n{WHOLE}")).unwrap();
    assert_eq!(locks, Layout { locks_table: true, ..expected });
}

#[test]
fn what_may_be_left_out_has_its_default() {
    let text = "name = \"n\"\ntable = \"t\"\n[columns]\ntenant = \"a\"\nstream_id = \"b\"\n\
                version = \"c\"\nevent_type = \"d\"\ndata = \"e\"\n";
    let layout = read(text).unwrap();
    assert_eq!((&*layout.schema, layout.first_version), ("public", 1));
    assert_eq!(layout.stream_id, ["b"]);
    assert_eq!((layout.position, layout.event_id, layout.stream_type), (None, None, None));
    assert_eq!((layout.anew.len(), layout.beside.len()), (0, 0));
    for key in ["name", "table", "tenant", "stream_id", "version", "event_type", "data"] {
        let short: String = text
            .lines()
            .filter(|line| !line.starts_with(key))
            .fold(String::new(), |text, line| text + line + "\n");
        let error = read(&short).unwrap_err();
        assert!(
            error.starts_with("orders.layout.toml: ") && error.contains("is missing"),
            "{error}"
        );
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_tenant_has_three_forms() {
    let tenant = |value: &str| read(&changed("\"tenant\"", value)).map(|layout| layout.tenant);
    let json = TenantPart::Json { column: "meta".to_owned(), key: "a b".to_owned() };
    assert_eq!(tenant("{ column = \"meta\", key = \"a b\" }"), Ok(json));
    assert_eq!(tenant("{ prefix = \"-\" }"), Ok(TenantPart::Prefix { separator: "-".to_owned() }));
    // A stream's name may have its tenant in it.
    assert_eq!(tenant("\"year\""), Ok(TenantPart::Column("year".to_owned())));
    for (value, problem) in [
        ("{ column = \"meta\" }", "has none of the accepted forms"),
        ("{ column = \"meta\", prefix = \"-\" }", "has none of the accepted forms"),
        ("{ }", "has none of the accepted forms"),
        ("{ prefix = \"\" }", "columns.tenant.prefix is empty"),
        ("{ column = \"meta\", keys = \"a\" }", "unknown key columns.tenant.keys"),
        ("{ column = \"\", key = \"a\" }", "columns.tenant.column is empty"),
        ("7", "columns.tenant must be a string or a table, not an integer"),
    ] {
        let error = tenant(value).unwrap_err();
        assert!(error.starts_with("orders.layout.toml:7: ") && error.contains(problem), "{error}");
    }
}

#[test]
fn bad_values_are_refused_with_key_file_and_line() {
    let long = format!("\"{}\"", "ä".repeat(32));
    for (from, to, problem) in [
        ("name =", "nam =", ": name is missing"),
        ("schema =", "scheme =", ":3: unknown key scheme"),
        ("metadata =", "meta =", ":17: unknown key columns.meta"),
        ("position = \"position\"", "positions = \"p\"", ":23: unknown key beside.positions"),
        ("[columns]", "[column]", ": columns is missing"),
        ("first_version = 0", "first_version = 2", ":5: first_version must be 0 or 1"),
        ("first_version = 0", "first_version = \"0\"", ":5: first_version must be 0 or 1"),
        ("\"Order Events\"", "\"\"", ":4: table is empty"),
        ("\"Order Events\"", &long, ":4: table has 64 bytes"),
        ("\"Order Events\"", "\"a\\u0000\"", ":4: table contains a NUL"),
        ("\"version\"", "\"{schema}\"", ":10: columns.version contains a brace"),
        ("[\"year\", \"no\"]", "[]", ":9: columns.stream_id names no column"),
        ("[\"year\", \"no\"]", "[\"year\", \"\"]", ":9: columns.stream_id is empty"),
        ("[\"year\", \"no\"]", "[\"year\", 1]", ":9: columns.stream_id must be a list of strings"),
        (
            "[\"year\", \"no\"]",
            "[\"no\", \"no\"]",
            ":9: columns.stream_id is \"no\", and so is itself",
        ),
        (
            "\"type\"",
            "\"version\"",
            ":13: columns.event_type is \"version\", and so is columns.version",
        ),
        (
            "\"created\"",
            "\"at\"",
            ":15: columns.recorded_at is \"at\", and so is columns.occurred_at",
        ),
        (
            "\"kind\"",
            "\"tenant\"",
            ":8: columns.stream_type is \"tenant\", and so is columns.tenant",
        ),
        (
            "[\"txid\"]",
            "[\"txid\", \"txid\"]",
            ":18: columns.anew contains \"txid\"; it is listed twice",
        ),
        (
            "[\"txid\"]",
            "[\"id\"]",
            ":18: columns.anew contains \"id\"; the target always computes the position",
        ),
        (
            "[\"txid\"]",
            "[\"payload\"]",
            ":18: columns.anew contains \"payload\"; it is columns.data",
        ),
        (
            "\"checkpoints\"\ntable",
            "\"notes\"\ntable",
            ":20: beside.kind must be one of checkpoints",
        ),
        ("\"out\"", "\"checkpoints\"", ":26: beside.table \"checkpoints\" is defined twice"),
        (
            "\"out\"",
            "\"Order Events\"",
            ":26: beside.table is \"Order Events\", which is the table",
        ),
        (
            "\"position\"\n[",
            "\"tenant\"\n[",
            ":23: beside.position is \"tenant\", and so is beside",
        ),
        ("kind = \"outbox\"\n", "", ":24: beside.kind is missing"),
        (
            "name = \"orders\"",
            "name = \"eventsource-py\"",
            ":2: name: \"eventsource-py\" is a built-in layout",
        ),
        ("[columns]", "[columns", ":6: not TOML"),
    ] {
        let error = read(&changed(from, to)).unwrap_err();
        let wanted = format!("orders.layout.toml{problem}");
        assert!(error.starts_with(&wanted), "{error}\n{wanted}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let odd = changed("\"Order Events\"", "\"a\\\"b\\\\c\\u0007 # ö\"").replace(
        "tenant = \"tenant\"\nstream",
        "tenant = { column = \"meta\", key = \"k\\\"\\n\" }\nstream",
    );
    for text in [WHOLE, &odd] {
        let layout = read(text).unwrap();
        let why = |key: &str| format!("{key}\nis \u{7} so");
        assert_eq!(read(&super::text::layout(&layout, why)).unwrap(), layout);
    }
    for name in BUILT_IN {
        assert_eq!(read(&show(name).unwrap().toml).unwrap(), Layout::built_in(name).unwrap());
    }
    assert_eq!(show("nobodys").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(list().len(), BUILT_IN.len());
}

#[test]
fn heads_of_streams_are_read_and_what_contradicts_itself_is_refused() {
    let heads = "\n[[beside]]\nkind = \"streams\"\ntable = \"heads\"\nstream_id = [\"a\", \"b\"]\n\
        version = \"v\"\nsame = [\"p\"]\ntravels = [\"kind\"]\n";
    let layout = read(&format!("{WHOLE}{heads}")).unwrap();
    let (beside, found) = layout.heads().unwrap();
    assert_eq!(
        (&*beside.table, &found.stream_id[..]),
        ("heads", &["a".to_owned(), "b".to_owned()][..])
    );
    assert_eq!((&*found.version, &*found.same[0], &*found.travels[0]), ("v", "p", "kind"));
    assert!(!beside.stands_in_the_way());
    let text = super::text::layout(&layout, |_| String::new());
    assert_eq!(read(&text).unwrap(), layout);
    for (from, to, problem) in [
        ("\"streams\"", "\"outbox\"", "are for [[beside]] of the kind \"streams\""),
        ("version = \"v\"\n", "", "beside.stream_id and beside.version go together"),
        ("[\"kind\"]", "[\"v\"]", "names column \"v\" twice"),
    ] {
        let error = read(&format!("{WHOLE}{}", heads.replacen(from, to, 1))).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    let twice = format!("{WHOLE}{heads}{}", heads.replacen("\"heads\"", "\"others\"", 1));
    assert!(read(&twice).unwrap_err().contains("two tables of streams' heads"));
}

/// A layout that comes with rehome has a page that describes its use, and a test with its table.
#[test]
fn every_built_in_layout_is_documented_and_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let texts = |folder: &str| -> String {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.is_file()).map(|f| std::fs::read_to_string(f).unwrap()).collect()
    };
    let (pages, tests) = (texts("docs/adopting"), texts("tests/adopted"));
    let tests = tests + &texts("crates/adapters/postgres/tests/adopted");
    for name in BUILT_IN {
        assert_eq!(Layout::built_in(name).map(|layout| layout.name).as_deref(), Some(name));
        let page = [format!("`{name}`"), format!("\"{name}\"")];
        assert!(page.iter().any(|text| pages.contains(text)), "docs/adopting has no {name}");
        let test = [format!("\"{name}\""), format!("'{name}'")];
        assert!(test.iter().any(|text| tests.contains(text)), "{name} has no test");
    }
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let count = ["five", "six", "seven", "eight", "nine"][BUILT_IN.len() - 5];
    assert!(readme.contains(&format!("{count} built-in layouts")), "README.md names {count}");
}
