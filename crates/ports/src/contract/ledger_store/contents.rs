//! Contents: what is written is what is read, to the byte.

use rehome_domain::event::{Event, EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Head, follow_chain};
use rehome_domain::stream::ExpectedVersion::{Any, NoStream};
use rehome_domain::stream::{STREAM_NAME_BYTES_MAX, StreamName};

use crate::BatchLimit;
use crate::contract::kit::{At, Store, append_of, event, head_of};
use crate::json::{self, JsonLimits};

fn hostile_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "'",
        "\"",
        "'; DROP TABLE events; --",
        "%",
        "_",
        "%s%n",
        "\\",
        "\\x00",
        "a/b",
        "..",
        ".",
        " ",
        " leading and trailing ",
        "\t",
        "line\nend",
        "carriage\rreturn",
        "\u{1}\u{7f}\u{85}",
        "\u{1f600}",
        "\u{1f469}\u{200d}\u{1f4bb}",
        "e\u{301}",
        "\u{e9}",
        "\u{212b}",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
        "\u{202e}reversed\u{202c}",
        "\u{feff}bom",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10ffff}",
        "I\u{130}\u{131}i",
        "STRASSE",
        "stra\u{df}e",
        "0",
        "-1",
        "1e3",
        "null",
        "NaN",
    ]
    .map(str::to_owned)
    .into();
    texts.push("\u{1f600}".repeat(250));
    texts
}

/// Appends one event per stream, as `change` makes it, and asserts that all ways of reading give
/// it back, here and in a copy.
async fn assert_kept(store: &Store, names: &[StreamName], change: impl Fn(usize, &mut NewEvent)) {
    let at = At::born(store, 1).await;
    let mut expected = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let mut append = append_of("replaced", NoStream, [i as u64]);
        append.stream = name.clone();
        change(i, &mut append.events[0]);
        expected.push(append.clone());
        at.send(1, append.clone()).await.unwrap_or_else(|conflict| panic!("{name}: {conflict}"));
        // What was read back for the comparison with a retry is also the same.
        at.send(1, append).await.unwrap_or_else(|conflict| panic!("{name}, again: {conflict}"));
    }
    let events = at.audit().await;
    assert_eq!(events.len(), expected.len());
    for (event, append) in events.iter().zip(&expected) {
        assert_same_content(event, &append.stream, &append.events[0]);
    }
    let copy = At::nowhere(store, 2);
    store.adopt(copy.tenant, Epoch(2), Head::EMPTY).await.unwrap();
    copy.extend_all(2, Head::EMPTY, &events).await;
    assert_eq!(copy.audit().await, events);
}

fn assert_same_content(event: &Event, stream: &StreamName, new: &NewEvent) {
    assert_eq!(event.stream, *stream);
    assert_eq!((event.id, event.version), (new.id, 1));
    assert_eq!(*event.event_type, *new.event_type);
    // Compared as texts, so that a failure shows them.
    let text = |json: &Json| json.as_str().chars().take(200).collect::<String>();
    assert_eq!(text(&event.data), text(&new.data));
    assert!(event.data == new.data && event.metadata == new.metadata);
    assert!(new.occurred_at.is_none_or(|at| at == event.occurred_at));
    assert!(new.recorded_at.is_none_or(|at| at == event.recorded_at));
}

pub async fn stream_names_are_kept_bytewise(store: Store) {
    let mut names = Vec::new();
    for text in hostile_texts() {
        names.push(StreamName::new("order", text.clone()).unwrap());
        if text != "order" && text.len() < 900 {
            names.push(StreamName::new(text, "order").unwrap());
        }
    }
    let longest = STREAM_NAME_BYTES_MAX - 1;
    names.push(StreamName::new("x", "y".repeat(longest)).unwrap());
    names.push(StreamName::new("y".repeat(longest), "x").unwrap());
    names.push(StreamName::new("y".repeat(512), "x".repeat(512)).unwrap());
    assert_kept(&store, &names, |_, _| {}).await;
}

pub async fn names_that_look_alike_are_different_streams(store: Store) {
    let longest = STREAM_NAME_BYTES_MAX - 2;
    let mut names: Vec<StreamName> = [
        ("order", "e\u{301}"),
        ("order", "\u{e9}"),
        ("order", "E\u{301}"),
        ("order", "a"),
        ("order", "A"),
        ("Order", "a"),
        ("order", "a "),
        ("order", " a"),
        ("order", "a\u{200b}"),
        ("order", "\u{430}"),
        ("order", "1"),
        ("order", "01"),
        ("order", "1.0"),
        // Moving the border between the two makes another name.
        ("ordera", "b"),
        ("order", "ab"),
    ]
    .into_iter()
    .map(|(kind, id)| StreamName::new(kind, id).unwrap())
    .collect();
    names.push(StreamName::new("x", format!("{}a", "y".repeat(longest))).unwrap());
    names.push(StreamName::new("x", format!("{}b", "y".repeat(longest))).unwrap());
    // Each append expects a stream without events, so that two which are one would conflict.
    assert_kept(&store, &names, |_, _| {}).await;
}

pub async fn event_types_are_kept_bytewise(store: Store) {
    let types: Vec<_> = hostile_texts().into_iter().filter(|text| text.len() <= 256).collect();
    let names: Vec<_> =
        (0..types.len()).map(|i| StreamName::new("order", i.to_string()).unwrap()).collect();
    assert_kept(&store, &names, |i, event| {
        event.event_type = EventType::new(types[i].clone()).unwrap();
    })
    .await;
}

fn unusual_json() -> Vec<String> {
    let mut texts: Vec<String> = [
        "{}",
        "[]",
        "null",
        "true",
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1E5",
        "1e400",
        "-1e-400",
        "0.1000000000000000055511151231257827",
        "123456789012345678901234567890123456789012345678901234567890",
        "9007199254740993",
        r#"{"a":1,"a":2,"a":{"a":3}}"#,
        r#"{"b":1,"a":2}"#,
        r#"{ "spaced" :	[ 1 ,  2 ] }"#,
        r#""""#,
        r#""\u0000""#,
        r#"{"\u0000":"\u0000"}"#,
        r#""\ud800""#,
        r#""\ud83d\ude00 \u00e9 \/ \b\f\n\r\t\\\"""#,
        r#"{"":""}"#,
        r#""it's 100% \\ 'quoted' $1 ?1 :name""#,
        "\"\u{1f600} e\u{301} \u{5e9}\u{5dc} \u{2028}\u{2029} \u{feff} \u{7f}\"",
    ]
    .map(str::to_owned)
    .into();
    texts.push(format!("\"{}\"", "\u{1f600}".repeat(1_000)));
    texts
}

pub async fn json_is_kept_verbatim(store: Store) {
    let texts: Vec<Json> = unusual_json()
        .iter()
        .map(|text| {
            let json = json::parse(text, JsonLimits::default()).unwrap();
            assert_eq!(json.as_str(), text);
            json
        })
        .collect();
    let names: Vec<_> =
        (0..texts.len()).map(|i| StreamName::new("order", i.to_string()).unwrap()).collect();
    assert_kept(&store, &names, |i, event| {
        event.data = texts[i].clone();
        event.metadata = texts[(i + 1) % texts.len()].clone();
    })
    .await;
}

pub async fn json_on_many_lines_is_kept_on_one(store: Store) {
    let at = At::born(&store, 1).await;
    let mut append = append_of("a", Any, [1]);
    let pretty = "{\r\n  \"a\": [\n    1,\n    \"x\\ny\"\n  ]\r}\n";
    append.events[0].data = json::parse(pretty, JsonLimits::default()).unwrap();
    at.send(1, append).await.unwrap();
    let events = at.audit().await;
    assert_eq!(events[0].data.as_str(), "{  \"a\": [    1,    \"x\\ny\"  ]}");
    assert_eq!(events[0].metadata.as_str(), "{}");
}

pub async fn large_and_deep_json_is_kept(store: Store) {
    let limits = JsonLimits::default();
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(limits.bytes_max - 8));
    assert_eq!(large.len(), limits.bytes_max);
    let deep = "[".repeat(limits.depth_max) + &"]".repeat(limits.depth_max);
    let texts = [large, deep].map(|text| json::parse(&text, limits).unwrap());
    let names = [0, 1].map(|i| StreamName::new("order", i.to_string()).unwrap());
    assert_kept(&store, &names, |i, event| {
        event.data = texts[i].clone();
        event.metadata = texts[1 - i].clone();
    })
    .await;
}

pub async fn an_extend_takes_what_is_over_the_limits(store: Store) {
    // What a source holds, from times with other limits, the target takes.
    let source = At::born(&store, 1).await;
    let mut append = append_of("a", Any, [1, 2]);
    append.events[0].data = Json::trusted("[".repeat(2_000) + &"]".repeat(2_000));
    append.events[1].data = Json::trusted(format!("\"{}\"", "x".repeat(3 << 20)));
    source.send(1, append).await.unwrap();
    let events = source.audit().await;
    let copy = At::nowhere(&store, 2);
    store.adopt(copy.tenant, Epoch(2), Head::EMPTY).await.unwrap();
    assert_eq!(copy.extend_all(2, Head::EMPTY, &events).await, head_of(&events));
    assert_eq!(copy.audit().await, events);
}

pub async fn times_before_the_epoch_and_far_ahead_are_kept(store: Store) {
    // From the first to the last microsecond that RFC 3339 can write.
    let times = [-62_135_596_800_000_000, -1, 0, 1, 1_767_225_600_123_456, 253_402_300_799_999_999]
        .map(Timestamp::from_micros);
    let names: Vec<_> =
        (0..times.len()).map(|i| StreamName::new("order", i.to_string()).unwrap()).collect();
    assert_kept(&store, &names, |i, event| {
        event.occurred_at = Some(times[i]);
        event.recorded_at = Some(times[times.len() - 1 - i]);
    })
    .await;
    let at = At::nowhere(&store, 1);
    let feed = store.read_feed(at.tenant, 0, BatchLimit::PAGE).await.unwrap();
    assert_eq!(follow_chain(Head::EMPTY, &feed.events), Ok(feed.ledger.head));
    assert_eq!(feed.events[0].event_type, event(0).event_type);
}
