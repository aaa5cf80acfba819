use super::*;
use crate::layout::{Beside, BesideKind, Heads, TenantPart};

/// A layout whose parts are in columns of these names.
fn layout(tenant: &str, id: &str, version: &str, kind: &str, data: &str) -> Layout {
    Layout {
        name: format!("of {data}"),
        schema: "public".to_owned(),
        table: "events".to_owned(),
        tenant: TenantPart::Column(tenant.to_owned()),
        stream_type: None,
        stream_id: vec![id.to_owned()],
        version: version.to_owned(),
        first_version: 1,
        position: Some("no".to_owned()),
        event_id: None,
        event_type: kind.to_owned(),
        occurred_at: None,
        recorded_at: None,
        data: data.to_owned(),
        metadata: None,
        anew: Vec::new(),
        beside: Vec::new(),
        locks_table: false,
    }
}

fn form(texts: Texts, layout: &Layout, columns: &[(&str, &str)]) -> RowForm {
    let column =
        |(name, kind): &(&str, &str)| ((*name).to_owned(), ColumnKind::of_postgresql(kind));
    RowForm::of(texts, layout, columns.iter().map(column))
}

/// In the order of their names, as a guard has them.
fn shop() -> (Layout, [(&'static str, &'static str); 6]) {
    let columns = [
        ("body", "jsonb"),
        ("customer", "text"),
        ("note", "text"),
        ("order", "text"),
        ("revision", "integer"),
        ("what", "text"),
    ];
    (layout("customer", "order", "revision", "what", "body"), columns)
}

fn log() -> (Layout, [(&'static str, &'static str); 6]) {
    let columns = [
        ("at", "bigint"),
        ("content", "jsonb"),
        ("kind", "character varying(80)"),
        ("note", "text"),
        ("owner", "text"),
        ("stream", "text"),
    ];
    (layout("owner", "stream", "at", "kind", "content"), columns)
}

const SERVER: Texts = Texts::Postgresql;

#[test]
fn columns_are_matched_by_their_parts_and_others_by_their_names() {
    let ((ours, of_ours), (theirs, of_theirs)) = (shop(), log());
    let (source, target) = (form(SERVER, &ours, &of_ours), form(SERVER, &theirs, &of_theirs));
    let order = source.order_at(&target).unwrap().unwrap();
    let digested = target.in_order(&order);
    let names: Vec<_> = digested.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["content", "owner", "note", "stream", "at", "kind"]);
    assert!(
        source.matches(&digested),
        "as it is digested there, a row is compared with the source's"
    );
    assert!(!source.matches(&target), "in the order of names it is not");
    // Back, from what the target digests: the source's own order.
    assert_eq!(digested.order_at(&source), Ok(None));
    assert!(target.order_at(&source).unwrap().is_some());
    assert_eq!(ours.differences(&theirs), Vec::<String>::new());
}

#[test]
fn columns_of_one_kind_are_not_exchanged_for_one_another() {
    // Equally many columns, of the same types, in the same order: the parts are exchanged.
    let columns = [("a", "text"), ("b", "text"), ("c", "text"), ("d", "text"), ("v", "integer")];
    let source = form(SERVER, &layout("a", "b", "v", "c", "d"), &columns);
    let swapped = form(SERVER, &layout("b", "a", "v", "c", "d"), &columns);
    assert!(!source.matches(&swapped));
    let order = source.order_at(&swapped).unwrap().unwrap();
    assert_eq!(order.to_string(), "2,1,3,4,5");
    assert!(source.matches(&swapped.in_order(&order)));
    // What one of two layouts confuses is not moved: its digests would agree.
    let (ours, theirs) = (layout("a", "b", "v", "c", "d"), layout("b", "a", "v", "c", "d"));
    assert_eq!(
        losses((&ours, &source), (&theirs, &swapped)),
        [
            "column \"a\" would go to \"b\", as both layouts name them `tenant`, although the target has a column \"a\" too: one of the \
             layouts confuses them; correct it and adopt that store again, or rename the columns of one table",
            "column \"b\" would go to \"a\", as both layouts name them `stream_id 1`, although the target has a column \"b\" too: one of the \
             layouts confuses them; correct it and adopt that store again, or rename the columns of one table",
        ]
    );
    // A name that means something else there, and no exchange: `plan` says which column goes where.
    let shifted = [("a", "text"), ("e", "text"), ("c", "text"), ("d", "text"), ("v", "integer")];
    let theirs = layout("e", "a", "v", "c", "d");
    let shifted = form(SERVER, &theirs, &shifted);
    assert_eq!(losses((&ours, &source), (&theirs, &shifted)), Vec::<String>::new());
    assert_eq!(renamed(&source, &shifted), ["\"a\" to \"e\"", "\"b\" to \"a\""]);
    // Columns without a part, with other names: neither is the other's counterpart.
    let columns = |note: &'static str| {
        let mut all = shop().1;
        all[2].0 = note;
        form(SERVER, &shop().0, &all)
    };
    assert_eq!(
        columns("note").differences(&columns("nota")),
        [
            "column \"note\" would be lost: the target has no such column; add it to the table there, and adopt that store again",
            "the target has a column \"nota\", and rows of the source have no value for it; if it has a default or may be \
             NULL, list it in `anew` of the target's layout, and adopt that store again",
        ]
    );
}

#[test]
fn a_part_that_the_other_layout_lacks_is_named_in_both_directions() {
    let ((mut ours, of_ours), (theirs, of_theirs)) = (shop(), log());
    ours.metadata = Some("note".to_owned());
    let (source, target) = (form(SERVER, &ours, &of_ours), form(SERVER, &theirs, &of_theirs));
    assert_eq!(
        source.differences(&target),
        [
            "column \"note\" would be lost: it is `metadata`, and no column of the target's layout is",
            "the target has a column \"note\", and rows of the source have no value for it; if it has a default or may be \
             NULL, list it in `anew` of the target's layout, and adopt that store again",
        ]
    );
    assert_eq!(
        target.differences(&source),
        [
            "column \"note\" would be lost: no part of an event is in it, and \"note\" of the target is `metadata`",
            "column \"note\" of the target would have no value: it is `metadata`, and no column of the source's layout is",
        ]
    );
}

#[test]
fn versions_begin_at_the_same_number_and_tenants_are_found_in_the_same_way() {
    let ((ours, of_ours), (mut theirs, of_theirs)) = (shop(), log());
    theirs.first_version = 0;
    let source = form(SERVER, &ours, &of_ours);
    assert_eq!(
        source.differences(&form(SERVER, &theirs, &of_theirs)),
        [
            "column \"revision\" would change: the versions of a stream begin at 1 at the source, and in \"at\" of the target at 0; \
          both layouts need the same `first_version`"
        ]
    );
    theirs.first_version = 1;
    theirs.tenant = TenantPart::Prefix { separator: "-".to_owned() };
    let found = source.differences(&form(SERVER, &theirs, &of_theirs));
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].contains("\"customer\" would be lost: it is `tenant`"), "{found:?}");
    assert!(found[3].contains("it is `tenant before \"-\"` and `stream_id 1`"), "{found:?}");
}

#[test]
fn counterparts_have_the_same_texts() {
    let ((ours, of_ours), (theirs, mut of_theirs)) = (shop(), log());
    of_theirs[1].1 = "json";
    of_theirs[5].1 = "uuid";
    let target = form(SERVER, &theirs, &of_theirs);
    assert_eq!(
        form(SERVER, &ours, &of_ours).differences(&target),
        [
            "column \"body\" is jsonb at the source and its counterpart \"content\" at the target is json, whose values have \
             other texts",
            "column \"order\" is text at the source and its counterpart \"stream\" at the target is uuid, whose values have \
             other texts",
        ]
    );
}

/// Also where all names are equal: between two tables of one layout types are left to the servers.
#[test]
fn types_are_compared_between_two_layouts() {
    let columns =
        |data| [("a", "text"), ("b", "text"), ("c", "text"), ("d", data), ("v", "integer")];
    let here = layout("a", "b", "v", "c", "d");
    let there = Layout { table: "elsewhere".to_owned(), ..here.clone() };
    let (json, jsonb) =
        (form(SERVER, &here, &columns("json")), form(SERVER, &there, &columns("jsonb")));
    assert_eq!(
        losses((&here, &json), (&there, &jsonb)),
        [
            "column \"d\" is json at the source and jsonb at the target, whose values have other texts"
        ]
    );
    assert_eq!(losses((&here, &json), (&here, &jsonb)), Vec::<String>::new());
}

#[test]
fn what_only_one_of_the_layouts_has_around_its_events_is_named() {
    let ((ours, _), (mut theirs, _)) = (shop(), log());
    theirs.position = None;
    theirs.beside = vec![
        Beside {
            kind: BesideKind::Streams,
            table: "streams".to_owned(),
            tenant: None,
            position: None,
            heads: None,
        },
        Beside {
            kind: BesideKind::Streams,
            table: "heads".to_owned(),
            tenant: None,
            position: None,
            heads: Some(Heads {
                stream_id: vec!["id".to_owned()],
                version: "version".to_owned(),
                same: Vec::new(),
                travels: vec!["type".to_owned()],
            }),
        },
    ];
    let found = ours.differences(&theirs);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("the source numbers its rows by column \"no\""), "{found:?}");
    assert!(found[1].contains("the target has streams' heads in \"streams\""), "{found:?}");
    assert!(found[2].contains("column \"type\" of the target's table \"heads\""), "{found:?}");
    assert_eq!(theirs.differences(&ours).len(), 3, "in the other direction too");
    assert_eq!(theirs.differences(&theirs), Vec::<String>::new());
}

#[test]
fn rows_are_compared_where_equal_rows_have_equal_texts() {
    let (layout, _) = shop();
    let form = |texts, columns: &[(&str, &str)]| form(texts, &layout, columns);
    let ours = form(Texts::AsPostgresql, &[("a", "uuid"), ("b", "character varying(9)")]);
    let theirs = form(SERVER, &[("a", "uuid"), ("b", "text")]);
    assert_eq!(ours.differences(&theirs), Vec::<String>::new());
    assert_eq!(theirs.differences(&ours), Vec::<String>::new());
    let old = form(Texts::Sqlite, &[("a", "uuid"), ("b", "text")]);
    assert_eq!(old.differences(&old), Vec::<String>::new());
    let other = form(Texts::Sqlite, &[("a", "uuid"), ("c", "text")]);
    for (one, other, side) in
        [(&old, &theirs, "the source"), (&ours, &old, "the target"), (&old, &other, "both stores")]
    {
        let found = one.differences(other).join("\n");
        assert!(found.contains(side) && found.contains("rehome store release"), "{found}");
    }
}

#[test]
fn a_column_that_would_be_lost_is_named() {
    let (layout, _) = shop();
    let form = |texts, columns: &[(&str, &str)]| form(texts, &layout, columns);
    let source = form(SERVER, &[("a", "uuid"), ("headers", "text")]);
    let lost = source.differences(&form(SERVER, &[("a", "uuid")])).join("\n");
    assert!(lost.contains("column \"headers\" would be lost"), "{lost}");
    let kinds = form(SERVER, &[("a", "uuid"), ("headers", "jsonb")]);
    assert_eq!(source.differences(&kinds), Vec::<String>::new(), "PostgreSQL casts it");
    let file = form(Texts::AsPostgresql, &[("a", "uuid"), ("headers", "jsonb")]);
    let found = file.differences(&source).join("\n");
    assert!(found.contains("\"headers\" is jsonb at the source and text"), "{found}");
    let real = form(Texts::AsPostgresql, &[("a", "real")]);
    assert_eq!(real.differences(&real), Vec::<String>::new());
    let found = real.differences(&form(SERVER, &[("a", "real")])).join("\n");
    assert!(found.contains("\"a\" is real"), "{found}");
}
