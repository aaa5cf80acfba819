//! The tables of other libraries: what their columns are, and what happens to the tables beside them.

use rehome_domain::ids::TenantId;
use rehome_domain::layout::{
    BUILT_IN, Beside, BesideKind, ColumnKind, Heads, Layout, Part, TenantPart, event_id_of,
};

use crate::kit::{stream, tenant};

fn built_in(name: &str) -> Layout {
    Layout::built_in(name).unwrap()
}

fn column(text: &str) -> TenantPart {
    TenantPart::Column(text.to_owned())
}

fn beside(kind: BesideKind, tenant: Option<&str>, position: Option<&str>) -> Beside {
    let (tenant, position) = (tenant.map(str::to_owned), position.map(str::to_owned));
    Beside { kind, table: "beside".to_owned(), tenant, position, heads: None }
}

/// An adopted store keeps the text of its layout, and is of another one where the text differs.
#[test]
fn each_layout_has_the_text_that_adopted_stores_keep() {
    let texts = BUILT_IN.map(|name| format!("{:?}\n", built_in(name)));
    assert_eq!(texts.concat(), include_str!("layouts.txt"));
    assert_eq!(Layout::built_in("events"), None);
}

#[test]
fn a_column_is_a_part_of_an_event_or_belongs_to_the_library() {
    for (layout, without) in [
        ("eventsource-py", &["actor_id", "txid"][..]),
        ("pyeventsourcing", &[]),
        ("message-db", &[]),
        (
            "emmett",
            &[
                "global_position",
                "transaction_id",
                "is_archived",
                "message_kind",
                "partition",
                "message_schema_version",
            ],
        ),
    ] {
        let layout = built_in(layout);
        let columns = layout.made().unwrap().columns;
        let has_part = |column: &str| {
            layout.position.as_deref() == Some(column) || !layout.parts_of(column).is_empty()
        };
        let (parts, others): (Vec<_>, Vec<_>) = columns.iter().partition(|column| has_part(column));
        assert_eq!(others, without.iter().collect::<Vec<_>>(), "{}", layout.name);
        let named = [
            &layout.stream_type,
            &layout.position,
            &layout.event_id,
            &layout.occurred_at,
            &layout.recorded_at,
            &layout.metadata,
        ];
        let named = named.into_iter().flatten().chain(&layout.stream_id);
        for part in named.chain([&layout.version, &layout.event_type, &layout.data]) {
            assert!(parts.contains(&&part.as_str()), "{}: {part}", layout.name);
        }
    }
    for unknown in ["marten", "axon"] {
        assert_eq!(built_in(unknown).made(), None);
    }
    assert_eq!(built_in("marten").parts_of("tenant_id"), [Part::Tenant]);
}

#[test]
fn only_a_library_with_a_table_in_sqlite_has_kinds_of_columns() {
    let layout = built_in("eventsource-py");
    for (columns, kind) in [
        (&["event_id", "aggregate_id", "tenant_id"][..], Some(ColumnKind::Uuid)),
        (&["aggregate_type", "event_type", "actor_id"], Some(ColumnKind::Text)),
        (&["version"], Some(ColumnKind::Integer)),
        (&["timestamp", "created_at"], Some(ColumnKind::Time)),
        (&["payload"], Some(ColumnKind::Json)),
        (&["global_position", "txid", "another"], None),
    ] {
        for column in columns {
            assert_eq!(layout.kind_of(column), kind, "{column}");
        }
    }
    assert_eq!(built_in("marten").kind_of("version"), None);
}

#[test]
fn the_tenant_of_a_streams_head_is_in_a_column_that_is_copied() {
    let marten = built_in("marten");
    let (table, heads) = marten.heads().unwrap();
    assert_eq!((table.table.as_str(), heads.version.as_str()), ("mt_streams", "version"));
    assert_eq!(marten.tenant_of_heads(), Some(column("tenant_id")));
    let prefix = TenantPart::Prefix { separator: "/".to_owned() };
    assert_eq!(built_in("emmett").tenant_of_heads(), Some(prefix));
    let without = built_in("eventsource-py");
    assert_eq!((without.heads(), without.tenant_of_heads()), (None, None));

    let with = |tenant: TenantPart, of_table: Option<&str>| {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let heads = Heads {
            stream_id: names(&["owner", "id"]),
            version: "head".to_owned(),
            same: names(&["region"]),
            travels: names(&["created"]),
        };
        let streams = beside(BesideKind::Streams, of_table, None);
        let layout = Layout {
            tenant,
            stream_id: names(&["tenant", "stream"]),
            beside: vec![Beside { heads: Some(heads), ..streams }],
            ..built_in("marten")
        };
        layout.tenant_of_heads()
    };
    assert_eq!(
        with(column("tenant"), None),
        Some(column("owner")),
        "in its place among the stream's columns"
    );
    assert_eq!(with(column("stream"), None), Some(column("id")));
    assert_eq!(with(column("region"), None), Some(column("region")));
    assert_eq!(with(column("created"), None), None, "it is no column of the events");
    let json = TenantPart::Json { column: "metadata".to_owned(), key: "tenant".to_owned() };
    assert_eq!(with(json.clone(), None), None);
    for copied in ["owner", "id", "region", "created"] {
        assert_eq!(with(json.clone(), Some(copied)), Some(column(copied)));
    }
    assert_eq!(with(json, Some("head")), None, "the table gives it anew");
}

#[test]
fn only_checkpoints_of_one_tenant_with_a_position_can_be_translated() {
    use BesideKind::{Checkpoints, Outbox, Snapshots, Streams};
    assert!(beside(Checkpoints, Some("tenant"), Some("position")).moves());
    assert!(!beside(Checkpoints, None, Some("position")).moves());
    assert!(!beside(Checkpoints, Some("tenant"), None).moves());
    for kind in [Snapshots, Outbox, Streams] {
        assert!(!beside(kind, Some("tenant"), Some("position")).moves(), "{kind:?}");
    }
    for kind in [Checkpoints, Snapshots, Outbox, Streams] {
        let table = beside(kind, None, None);
        assert_eq!(table.stands_in_the_way(), kind == Streams, "{kind:?}");
    }
    assert!(!built_in("emmett").heads().unwrap().0.stands_in_the_way());
}

#[test]
fn of_each_table_beside_the_events_it_is_said_what_happens_to_it() {
    use BesideKind::{Checkpoints, Outbox, Snapshots, Streams};
    let heads = built_in("marten").heads().unwrap().1.clone();
    let tenant = Some("tenant");
    for (table, kind, what) in [
        (beside(Checkpoints, tenant, Some("position")), "checkpoints", "copies them, translated"),
        (beside(Checkpoints, tenant, None), "checkpoints", "none of their columns is a position"),
        (beside(Checkpoints, None, None), "checkpoints", "a row belongs to all tenants"),
        (beside(Snapshots, tenant, None), "snapshots", "rebuild them from the events"),
        (beside(Outbox, None, None), "outbox", "until it is empty"),
        (
            Beside { heads: Some(heads), ..beside(Streams, tenant, None) },
            "streams' heads",
            "those of the tenant go with its events",
        ),
        (beside(Streams, tenant, None), "streams' heads", "name `stream_id` and `version`"),
    ] {
        let whose = if table.tenant.is_some() { "of the tenant" } else { "of all tenants" };
        for (rows, counted) in [
            (Some(0), format!("0 rows {whose}")),
            (Some(1), format!("1 row {whose}")),
            (Some(2), format!("2 rows {whose}")),
            (Some(10_000), format!("10000 rows {whose}")),
            (Some(10_001), format!("more than 10000 rows {whose}")),
            (None, "an unknown number of rows (missing, or without SELECT)".to_owned()),
        ] {
            let text = table.on_a_move(rows);
            let start = format!("beside ({kind}) has {counted}: ");
            assert!(text.starts_with(&start) && text.contains(what), "{text}");
        }
    }
}

/// The ids are in the digests of adopted stores: the same row has the same id for ever.
#[test]
fn an_event_without_an_id_has_one_of_its_place() {
    let id = event_id_of(tenant(), &stream("a"), 7);
    // Computed with Python: `uuid.uuid5(uuid.UUID(bytes=b"\7" * 16), "order\0a\0" + "7")`.
    assert_eq!(id.to_string(), "fac97d3f-77d4-533c-870a-c63a80b682ca");
    let another = TenantId::from_slice(&[8; 16]).unwrap();
    for other in [
        event_id_of(another, &stream("a"), 7),
        event_id_of(tenant(), &stream("b"), 7),
        event_id_of(tenant(), &stream("a"), 8),
    ] {
        assert_ne!(other, id);
    }
}
