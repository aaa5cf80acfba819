use super::*;

fn reader(affinities: &[Affinity]) -> RowReader {
    let name = |(n, affinity): (usize, &Affinity)| (format!("c{n}"), *affinity);
    RowReader {
        columns: affinities.iter().enumerate().map(name).collect(),
        kinds: None,
        form: Arc::new(RowForm { texts: Texts::Sqlite, columns: Vec::new() }),
        stream_type: None,
        stream_id: vec![0],
        version: 0,
        first_version: 1,
        event_id: None,
        event_type: 0,
        occurred_at: None,
        recorded_at: None,
        data: 0,
        metadata: None,
    }
}

fn event(row: ForeignRow) -> Event {
    Event {
        seq: 1,
        stream: StreamName::new("a", "b").unwrap(),
        version: 1,
        id: EventId::new(uuid::Uuid::nil()),
        event_type: EventType::new("c").unwrap(),
        occurred_at: Timestamp::default(),
        recorded_at: Timestamp::default(),
        data: Json::trusted("{}"),
        metadata: Json::trusted("{}"),
        digest: Digest::EMPTY,
        row: Some(Arc::new(row)),
    }
}

#[test]
fn every_value_of_every_class_comes_back() {
    let some = [
        Cell::Null,
        Cell::Integer(i64::MIN),
        Cell::Integer(5),
        Cell::Real(5.0),
        Cell::Real(-0.1),
        Cell::Real(1e300),
        Cell::Real(f64::INFINITY),
        Cell::Text("5".to_owned()),
        Cell::Text(String::new()),
        Cell::Text("\\x00".to_owned()),
        Cell::Text("a\0b\n(,)\"".to_owned()),
        Cell::Bytes(vec![0x80, 0xff]),
        Cell::Blob(vec![0]),
        Cell::Blob(Vec::new()),
    ];
    let all =
        [Affinity::Integer, Affinity::Text, Affinity::Blob, Affinity::Real, Affinity::Numeric];
    for affinity in all {
        let reader = reader(&[affinity, Affinity::Text]);
        let mut written = std::collections::HashSet::new();
        for cell in &some {
            let cells = vec![cell.clone(), Cell::Text("z".to_owned())];
            let row = reader.record(&cells, None);
            assert_eq!(reader.values(&event(row.clone()), None).unwrap(), cells, "{affinity:?}");
            assert!(written.insert(row), "{cell:?} is written as another is: {affinity:?}");
        }
    }
}

#[test]
fn a_row_as_its_columns_are_declared_is_written_as_in_postgresql() {
    let reader = reader(&[Affinity::Text, Affinity::Integer, Affinity::Text]);
    let cells = [Cell::Text("a b".to_owned()), Cell::Integer(7), Cell::Null];
    assert_eq!(reader.record(&cells, None).as_str(), "(\"a b\",7,)");
    let cells = [Cell::Text("a".to_owned()), Cell::Text("7".to_owned()), Cell::Null];
    assert_eq!(reader.record(&cells, None).as_str(), "(a,7,,ttn)");
}

/// A table of one column of each kind, with the texts of PostgreSQL.
fn of_kinds() -> RowReader {
    let kinds = [
        (Affinity::Text, ColumnKind::Uuid),
        (Affinity::Text, ColumnKind::Text),
        (Affinity::Integer, ColumnKind::Integer),
        (Affinity::Text, ColumnKind::Time),
        (Affinity::Text, ColumnKind::Json),
        (Affinity::Blob, ColumnKind::Bytes),
        (Affinity::Real, ColumnKind::Other("real".to_owned())),
    ];
    let affinities = kinds.clone().map(|(affinity, _)| affinity);
    RowReader { kinds: Some(kinds.map(|(_, kind)| kind).to_vec()), ..reader(&affinities) }
}

const UUID: &str = "0190a5de-6f6b-7c3d-8a55-000000000001";

fn cells(time: &str, json: &str) -> Vec<Cell> {
    let text = |text: &str| Cell::Text(text.to_owned());
    vec![
        text(UUID),
        text("a b"),
        Cell::Integer(7),
        text(time),
        text(json),
        Cell::Blob(vec![0, 255]),
        Cell::Real(0.5),
    ]
}

#[test]
fn a_row_of_kinds_is_written_as_postgresql_writes_it_and_comes_back_as_it_was() {
    let reader = of_kinds();
    let cells = cells("2026-01-02T03:04:05.600000+00:00", r#"{"bb": 1,"a":[]}"#);
    let row = with_own(reader.record(&cells, None), &reader.own_record(&cells, None));
    let written = format!(
        r#"({UUID},"a b",7,"2026-01-02 03:04:05.6+00","{{""a"": [], ""bb"": 1}}","\\x00ff",0.5)"#
    );
    assert_eq!(row.as_str(), written);
    assert_eq!(
        reader.values(&event(row.clone()), None).unwrap(),
        cells,
        "from a file, byte for byte"
    );
    // From PostgreSQL it has the texts that the library would write.
    let from_server = reader.values(&event(ForeignRow::new(row.as_str())), None).unwrap();
    assert_eq!(from_server[3], cells[3]);
    assert_eq!(from_server[4], Cell::Text(r#"{"a":[],"bb":1}"#.to_owned()));
    assert_eq!(reader.record(&from_server, None), row, "it is the same row");
    // An older guard would not know it again.
    let old = RowReader { kinds: None, ..of_kinds() };
    assert!(old.values(&event(row), None).is_err());
}

#[test]
fn a_value_that_postgresql_would_not_keep_has_a_letter_and_stays_what_it_is() {
    let reader = of_kinds();
    let cells = cells("2026-01-02 03:04:05", r#"{"a":1,"a":2}"#);
    let row = with_own(reader.record(&cells, None), &reader.own_record(&cells, None));
    let columns = row.columns().unwrap();
    assert_eq!(columns.last().unwrap().as_deref(), Some("vvvttvv"));
    assert_eq!(reader.values(&event(row.clone()), None).unwrap(), cells);
    let mut others = cells.clone();
    others[4] = Cell::Null;
    assert_ne!(reader.record(&others, None), row);
}

#[test]
fn a_value_that_sqlite_would_not_keep_is_refused_by_its_column() {
    let reader = of_kinds();
    for (time, json, column) in [
        ("infinity", "{}", "c3"),
        ("10000-01-01 00:00:00+00", "{}", "c3"),
        ("2026-01-02 03:04:05+02", "{}", "c3"),
        ("2026-01-02 03:04:05+00", r#"{"a":  1}"#, "c4"),
    ] {
        let texts = [UUID, "a b", "7", time, json, "\\x00", "0.5"].map(Some);
        let refused = reader.values(&event(ForeignRow::of(texts)), None).unwrap_err();
        let refused = refused.fault("it").to_string();
        assert!(refused.contains(&format!("column \"{column}\"")), "{refused}");
    }
}
