//! The texts that rehome computes for values in SQLite are those that a real PostgreSQL writes for them.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rehome_domain::layout::ForeignRow;
use rehome_domain::layout::value::{NotKept, json, time, time_in_python, uuid};
use tokio_postgres::{Client, NoTls};

/// Values of each kind.
const CASES: usize = 4_000;
/// Of which PostgreSQL judges one by one, if it refuses some.
const REFUSED: usize = 400;

async fn session() -> Client {
    let database = rehome_cluster::shared().database().unwrap();
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'").await.unwrap();
    client
}

fn generated<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::default();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// What PostgreSQL writes for texts as `kind`.
async fn written(client: &Client, kind: &str, texts: &[&str]) -> Vec<String> {
    let sql = format!(
        "SELECT array_agg(t.x::{kind}::text ORDER BY t.n) FROM unnest($1::text[]) WITH ORDINALITY AS t (x, n)"
    );
    client.query_one(&sql, &[&texts]).await.unwrap().get(0)
}

/// Blanks between tokens.
fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\n\t")]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(|it| format!("{it:?}")),
        any::<i64>().prop_map(|it| it.to_string()),
    ]
}

/// A string of JSON with any characters, some of them escaped.
fn string() -> impl Strategy<Value = String> {
    let plain = any::<char>().prop_map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    let escaped = any::<char>().prop_map(|c| {
        let mut units = [0; 2];
        let units = c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}"));
        units.collect::<Vec<_>>().concat()
    });
    let short = "\\\\[\"\\\\/bfnrt]";
    let half = (0xd700_u16..0xe000).prop_map(|unit| format!("\\u{unit:04x}"));
    let part =
        prop_oneof![8 => plain, 2 => escaped, 2 => short, 8 => "[a-zA-Z0-9éß日_ ]{1,3}", 1 => half];
    vec(part, 0..6).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

fn document() -> impl Strategy<Value = String> {
    let word = prop_oneof![Just("true"), Just("false"), Just("null")].prop_map(str::to_owned);
    let leaf = prop_oneof![2 => number(), 3 => string(), 1 => word];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let spaced =
            (blank(), inner, blank()).prop_map(|(a, value, b)| format!("{a}{value}{b}")).boxed();
        let key = prop_oneof![2 => "\"[a-c]{1,3}\"", 3 => string()];
        let member = (blank(), key, blank(), spaced.clone())
            .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        prop_oneof![
            vec(spaced, 0..6).prop_map(|values| format!("[{}]", values.join(","))),
            vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

#[tokio::test]
async fn a_json_text_is_written_as_jsonb_writes_it() {
    let client = session().await;
    let texts = generated(document(), CASES);
    let (kept, refused): (Vec<&String>, Vec<&String>) =
        texts.iter().partition(|text| json::jsonb(text).is_ok());
    assert!(kept.len() > CASES / 3 && refused.len() > CASES / 50, "{} of {CASES}", kept.len());
    let kept: Vec<&str> = kept.into_iter().map(String::as_str).collect();
    let compact: Vec<String> = kept.iter().map(|text| json::compact(text).unwrap()).collect();
    let compact: Vec<&str> = compact.iter().map(String::as_str).collect();
    let theirs = written(&client, "jsonb", &kept).await;
    let again = written(&client, "jsonb", &compact).await;
    for ((text, theirs), again) in kept.iter().zip(&theirs).zip(&again) {
        assert_eq!(&json::jsonb(text).unwrap(), theirs, "{text:?}");
        assert_eq!(&json::jsonb(theirs).unwrap(), theirs, "its own text stays: {text:?}");
        assert_eq!(again, theirs, "the text without blanks is the same value: {text:?}");
    }
    // A character that is refused is refused by PostgreSQL too.
    let sql = "SELECT ($1::text::jsonb)::text";
    for text in refused.iter().take(REFUSED) {
        match json::jsonb(text).unwrap_err() {
            NotKept::CharacterInJson => {
                assert!(client.query_one(sql, &[text]).await.is_err(), "{text:?}");
            }
            NotKept::TwiceInJson | NotKept::NumberInJson => {}
            why => panic!("{text:?} is refused: {why}"),
        }
    }
}

#[tokio::test]
async fn a_time_and_a_uuid_are_written_as_postgresql_writes_them() {
    let client = session().await;
    let date = (1_u32..10_000, 1_u32..13, 1_u32..32);
    let second = (0_u32..24, 0_u32..60, 0_u32..60);
    let fraction = prop_oneof![Just(0), 0_u32..1_000_000, (0_u32..1_000).prop_map(|n| n * 1_000)];
    let isos: Vec<String> = generated((date, second, fraction), CASES)
        .into_iter()
        .map(|((year, month, day), (hour, minute, second), micros)| {
            let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
            format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+00:00"
            )
        })
        .collect();
    let kept: Vec<&str> = isos.iter().map(String::as_str).filter(|iso| time(iso).is_ok()).collect();
    assert!(kept.len() > CASES / 2, "{} of {CASES}", kept.len());
    let theirs = written(&client, "timestamptz", &kept).await;
    for (iso, theirs) in kept.iter().zip(&theirs) {
        assert_eq!(&time(iso).unwrap(), theirs);
        assert_eq!(time_in_python(theirs).as_deref(), Some(*iso));
    }
    // A day that there is not is none for PostgreSQL either.
    for iso in isos.iter().filter(|iso| time(iso).is_err()).take(50) {
        let sql = "SELECT ($1::text::timestamptz)::text";
        assert!(client.query_one(sql, &[iso]).await.is_err(), "{iso}");
    }
    let ids = generated("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", 200);
    let ids: Vec<&str> = ids.iter().map(|id| uuid(id).unwrap()).collect();
    assert_eq!(written(&client, "uuid", &ids).await, ids);
}

/// Of several columns, with quotes, blanks and NULL.
#[tokio::test]
async fn a_record_is_written_as_postgresql_writes_it() {
    let client = session().await;
    let part = prop_oneof![1 => Just(None), 4 => "\\PC{0,6}".prop_map(Some), 4 => "[ \"\\\\(),a\\t\\n\\r]{0,5}".prop_map(Some)];
    for texts in generated(vec(part, 3), 400) {
        let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
        let row = client
            .query_one(
                "SELECT ROW($1::text, $2::text, $3::text)::text",
                &[&texts[0], &texts[1], &texts[2]],
            )
            .await
            .unwrap();
        let theirs: &str = row.get(0);
        assert_eq!(ForeignRow::of(texts.iter().copied()).as_str(), theirs);
        let columns = ForeignRow::new(theirs).columns().unwrap();
        assert!(columns.iter().map(Option::as_deref).eq(texts), "{theirs}");
    }
}
