//! The guard's statements for one table: templates with the table's names in them.

use rehome_domain::layout::{Layout, TenantPart};

use super::heads;
use super::shape::{Column, Shape, not_set_up};
use crate::rows::Read;
use crate::schema::names::quoted;

/// The name prefix of the guard's triggers: last in the alphabet, so that they run after the others.
pub(crate) const TRIGGER: &str = "zzzz_rehome";

/// What the database writes values with, whatever the session has.
const ROW_SETTINGS: &str = "SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, YMD' \
     SET intervalstyle = 'postgres' SET timezone = 'UTC' SET extra_float_digits = 1 SET bytea_output = 'hex'";

/// The value of each placeholder; `{schema}` and `{body}` are filled in as in all other statements.
pub(crate) struct Names(Vec<(&'static str, String)>);

impl Names {
    /// Of a table and its layout. `class`: the first key of our advisory locks.
    pub(crate) fn new(shape: &Shape, layout: &Layout, schema: &str, class: i32) -> Read<Self> {
        let named = [schema, &shape.schema, &shape.table];
        let columns = shape.columns.iter().map(|column| column.name.as_str());
        if let Some(bad) = named.into_iter().chain(columns).find(|name| name.contains(['{', '}'])) {
            return Err(not_set_up(format!("the name {} contains braces", quoted(bad))));
        }
        let key = shape.key(layout)?;
        let key_names: Vec<String> = (1..=key.len()).map(|n| format!("k{n}")).collect();
        let definitions =
            key.iter().zip(&key_names).map(|(column, k)| format!("{k} {} NOT NULL", column.kind));
        let of = |alias: &str| {
            let parts = key.iter().map(|column| format!("{alias}.{}", quoted(&column.name)));
            parts.collect::<Vec<_>>().join(", ")
        };
        let named = |alias: &str| {
            key_names.iter().map(|k| format!("{alias}.{k}")).collect::<Vec<_>>().join(", ")
        };
        let join = key.iter().zip(&key_names);
        let join = join.map(|(column, k)| format!("t.{} = a.{k}", quoted(&column.name)));
        let join = join.collect::<Vec<_>>().join(" AND ");
        let key_named = key.iter().zip(&key_names);
        let key_named = key_named.map(|(column, k)| format!("t.{} AS {k}", quoted(&column.name)));
        let row = shape.row_columns(layout);
        let row = row.iter().map(|column| format!("t.{}::text", quoted(&column.name)));
        let row: Vec<String> = row.collect();
        let travels = heads::travelling(layout);
        let in_order = |order: &str| in_order(&row, &travels, order);
        let of_tenant = "(SELECT y.row_order FROM {schema}.heads AS y JOIN {schema}.tenants AS x ON x.no = y.no \
             WHERE x.tenant = p_tenant)";
        let position = layout.position.as_deref().map(|name| shape.column(name)).transpose()?;
        // A number that the target draws anew still shows in which order this table's rows came; a time is the same
        // for all rows of a transaction.
        let drawn = layout.anew.iter().filter_map(|name| shape.column(name).ok());
        let ordered = position.or_else(|| drawn.into_iter().find(|c| c.sequence.is_some()));
        let order = match (ordered, &layout.recorded_at, &layout.occurred_at) {
            (Some(column), _, _) => format!("t.{}", quoted(&column.name)),
            (None, Some(column), _) | (None, None, Some(column)) => format!("t.{}", quoted(column)),
            (None, None, None) => "0".to_owned(),
        };
        let stream_columns = layout.stream_type.iter().chain(&layout.stream_id);
        let stream_columns = stream_columns.map(|name| format!("t.{}", quoted(name)));
        let version = version(layout);
        let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
        Ok(Self(vec![
            ("{table}", shape.quoted()),
            // With an E before it, whatever is in it is what it is.
            ("{table_in_text}", escaped(&shape.quoted())),
            ("{schema_in_text}", escaped_name(schema)),
            ("{trigger_like}", literal(&format!("{TRIGGER}%"))),
            ("{class}", class.to_string()),
            ("{key_definitions}", definitions.collect::<Vec<_>>().join(",\n    ")),
            ("{key_names}", key_names.join(", ")),
            ("{key_of_new}", of("NEW")),
            ("{key_of_row}", named("v_row")),
            ("{key_of_h}", named("h")),
            ("{key_of_t_named}", key_named.collect::<Vec<_>>().join(", ")),
            ("{key_join}", join.clone()),
            ("{tenant_of_new}", tenant(shape, layout, "NEW")?),
            ("{tenant_of_old}", tenant(shape, layout, "OLD")?),
            ("{tenant_of_t}", tenant(shape, layout, "t")?),
            ("{is_tenant}", is_tenant(shape, layout)?),
            ("{heads_of_tenant}", heads::of_tenant(layout)),
            (
                "{heads_in_text}",
                heads::in_text(layout).map_or("NULL".to_owned(), |it| escaped(&it)),
            ),
            ("{is_stream}", is_stream(shape, layout)?),
            ("{row_in_v_order}", in_order("v_order")),
            ("{row_in_p_order}", in_order(of_tenant)),
            ("{row_settings}", ROW_SETTINGS.to_owned()),
            ("{order_of_t}", order),
            ("{stream_columns_of_t}", stream_columns.collect::<Vec<_>>().join(", ")),
            ("{version_of_t}", version.clone()),
            ("{stream_type_of_t}", stream_type(layout)),
            ("{stream_id_of_t}", stream_id(layout)),
            ("{event_of_t}", event(shape, layout, &version)?),
            ("{is_marked}", is_marked(shape, layout, schema)?),
            ("{mark_of_key}", mark(&marked(shape, layout, None)?)),
            ("{floor_check}", floor_check(position)),
            ("{delete_rows_of_a}", heads::cut(layout, &delete(shape, &join))),
            ("{lock_for_copy}", lock_for_copy(shape, layout)),
            ("{draw_positions}", draw(position)),
        ]))
    }

    /// The template with the names in it.
    pub(crate) fn render(&self, template: &str) -> String {
        self.0.iter().fold(template.to_owned(), |text, (place, name)| text.replace(place, name))
    }
}

/// Row `t` as it is digested, as a text: its copied columns, in the order that `order` has if it is not NULL, and behind them
/// what travels of its stream's head.
fn in_order(row: &[String], travels: &[String], order: &str) -> String {
    let text = |columns: Vec<String>| {
        let columns: Vec<_> = columns.into_iter().chain(travels.iter().cloned()).collect();
        format!("ROW({})::text", columns.join(", "))
    };
    let (plain, own) = (text(row.to_vec()), row.join(", "));
    let placed = text((1..=row.len()).map(|n| format!("o.own[o.places[{n}]]")).collect());
    format!(
        "CASE WHEN {order} IS NULL THEN {plain} ELSE (SELECT {placed} \
         FROM (SELECT ARRAY[{own}] AS own, {order} AS places OFFSET 0) AS o) END"
    )
}

/// The condition of the triggers of an inserted row: its tenant's mark is set, or is not known.
fn is_marked(shape: &Shape, layout: &Layout, schema: &str) -> Read<String> {
    let (hash, schema) = (marked(shape, layout, Some("NEW"))?, escaped_name(schema));
    Ok(format!("{{schema}}.marked('{schema}.marks'::regclass, {hash})"))
}

/// A name inside of a literal.
fn escaped_name(name: &str) -> String {
    quoted(name).replace('\'', "''")
}

/// The hash that a tenant's mark is chosen by: of the row `NEW`, or of a `key` of `x`. One whose values are
/// on disks in hash indexes, so that no version of the server changes it.
fn marked(shape: &Shape, layout: &Layout, row: Option<&str>) -> Read<String> {
    let is_uuid = match &layout.tenant {
        TenantPart::Column(name) => shape.column(name)?.kind == "uuid",
        TenantPart::Json { .. } | TenantPart::Prefix { .. } => false,
    };
    Ok(match (row, &layout.tenant) {
        (Some(row), TenantPart::Column(name)) if is_uuid => {
            format!("uuid_hash({row}.{})", quoted(name))
        }
        (Some(row), _) => format!("hashtext({} COLLATE \"C\")", tenant(shape, layout, row)?),
        (None, _) if is_uuid => "uuid_hash(x.key::uuid)".to_owned(),
        (None, _) => "hashtext(x.key COLLATE \"C\")".to_owned(),
    })
}

/// The bit of a hash.
fn mark(hash: &str) -> String {
    format!("(bigint '1' << ({hash} & 63))")
}

/// A text as a literal of SQL.
pub(super) fn escaped(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The version of row `t` in its stream, from 1.
pub(crate) fn version(layout: &Layout) -> String {
    format!("(t.{}::bigint + {})", quoted(&layout.version), 1 - i64::from(layout.first_version))
}

/// Bytes as a string of JSON.
pub(crate) fn base64(column: &str) -> String {
    format!("to_json(translate(encode({column}, 'base64'), E'\\n', ''))::text")
}

/// Whose the row called `alias` is, as a text.
pub(crate) fn tenant(shape: &Shape, layout: &Layout, alias: &str) -> Read<String> {
    Ok(match &layout.tenant {
        TenantPart::Column(name) => {
            format!("({alias}.{}::text)", quoted(&shape.column(name)?.name))
        }
        TenantPart::Json { column, key } => {
            let column = quoted(&shape.column(column)?.name);
            format!("({alias}.{column}::text::jsonb ->> {})", escaped(key))
        }
        TenantPart::Prefix { separator } => {
            let first = layout.stream_id.first().map_or("", String::as_str);
            before(&format!("{alias}.{}", quoted(&shape.column(first)?.name)), separator)
        }
    })
}

/// What a stream's name begins with.
fn before(stream: &str, separator: &str) -> String {
    let (stream, separator) = (format!("{stream}::text"), escaped(separator));
    format!(
        "(CASE WHEN strpos({stream}, {separator}) > 0 THEN split_part({stream}, {separator}, 1) END)"
    )
}

/// Whether a stream's name begins with the tenant `v_key`. The first condition follows from the second: a range of an index
/// whose order is that of bytes, such as one of the collation "C" or with `text_pattern_ops`.
pub(super) fn begins_with_tenant(stream: &str, separator: &str) -> String {
    let plain = format!("v_key || {}", escaped(separator));
    let pattern = [r"\\", "%", "_"]
        .iter()
        .fold(plain, |text, special| format!(r"replace({text}, E'{special}', E'\\{special}')"));
    let text = before(stream, separator);
    format!("{stream}::text LIKE ({pattern} || '%') AND {text} COLLATE \"C\" = v_key")
}

/// Whether row `t` is of the tenant `v_key`: by the column's own type, so that an index is of use.
fn is_tenant(shape: &Shape, layout: &Layout) -> Read<String> {
    let text = tenant(shape, layout, "t")?;
    Ok(match &layout.tenant {
        TenantPart::Column(name) => {
            let column = shape.column(name)?;
            let exactly = format!("t.{} = v_key::{}", quoted(name), column.kind);
            format!("{exactly} AND {text} COLLATE \"C\" = v_key")
        }
        TenantPart::Json { .. } => format!("{text} COLLATE \"C\" = v_key"),
        TenantPart::Prefix { separator } => {
            let first = layout.stream_id.first().map_or("", String::as_str);
            begins_with_tenant(&format!("t.{}", quoted(first)), separator)
        }
    })
}

/// Whether row `t` is of the stream of type `p_type` whose id has the parts `p_id`.
fn is_stream(shape: &Shape, layout: &Layout) -> Read<String> {
    let mut all = Vec::new();
    match &layout.stream_type {
        Some(name) => {
            let column = shape.column(name)?;
            all.push(format!("t.{} = p_type::{}", quoted(name), column.kind));
        }
        None => all.push("p_type = 'stream'".to_owned()),
    }
    for (n, name) in layout.stream_id.iter().enumerate() {
        let column = shape.column(name)?;
        all.push(format!("t.{} = p_id[{}]::{}", quoted(name), n + 1, column.kind));
    }
    Ok(all.join(" AND "))
}

fn stream_type(layout: &Layout) -> String {
    match &layout.stream_type {
        Some(name) => format!("t.{}::text", quoted(name)),
        None => "'stream'::text".to_owned(),
    }
}

fn stream_id(layout: &Layout) -> String {
    let parts = layout.stream_id.iter().map(|name| format!("t.{}::text", quoted(name)));
    let parts = parts.collect::<Vec<_>>();
    if parts.len() == 1 {
        parts[0].clone()
    } else {
        format!("concat_ws('/', {})", parts.join(", "))
    }
}

/// The parts of an event, in the order in which they are read.
pub(crate) fn event(shape: &Shape, layout: &Layout, version: &str) -> Read<String> {
    let time = |name: &Option<String>| -> Read<String> {
        let Some(name) = name else { return Ok("NULL::bigint".to_owned()) };
        let kind = &shape.column(name)?.kind;
        let is_time = kind.starts_with("timestamp") || kind == "date";
        let micros = format!("(extract(epoch FROM t.{}) * 1000000)::bigint", quoted(name));
        Ok(if is_time { micros } else { "NULL::bigint".to_owned() })
    };
    let payload = |name: &str| -> Read<String> {
        let column = format!("t.{}", quoted(name));
        Ok(match shape.column(name)?.kind.as_str() {
            "bytea" => base64(&column),
            _ => format!("{column}::text"),
        })
    };
    let id = match &layout.event_id {
        Some(name) if shape.column(name)?.kind == "uuid" => format!("t.{}", quoted(name)),
        Some(_) | None => "NULL::uuid".to_owned(),
    };
    let metadata =
        layout.metadata.as_deref().map_or_else(|| Ok("'{}'::text".to_owned()), payload)?;
    shape.column(&layout.event_type)?;
    Ok(format!(
        "{} AS stream_type, {} AS stream_id, {version} AS version, {id} AS event_id, t.{}::text AS event_type, \
         {} AS occurred_at, {} AS recorded_at, {} AS data, {metadata} AS metadata",
        stream_type(layout),
        stream_id(layout),
        quoted(&layout.event_type),
        time(&layout.occurred_at)?,
        time(&layout.recorded_at)?,
        payload(&layout.data)?,
    ))
}

/// No writer is let in behind rows that were copied: readers may have passed them (rule R4).
fn floor_check(position: Option<&Column>) -> String {
    let Some(column) = position else { return "NULL;".to_owned() };
    format!(
        "IF NEW.{}::bigint <= v_floor THEN\n                \
         RAISE EXCEPTION 'rehome: the position was drawn before rows were copied'\n                    \
         USING ERRCODE = 'serialization_failure', HINT = 'Repeat the transaction.';\n            END IF;",
        quoted(&column.name)
    )
}

/// Deletes the rows that positions `a` name, from a number on.
fn delete(shape: &Shape, join: &str) -> String {
    format!(
        "DELETE FROM {} AS t USING {{schema}}.positions AS a\n        \
         WHERE a.no = v_no AND a.seq > v_from AND {join}",
        shape.quoted()
    )
}

/// Where readers find positions in the order of the commits, a copy draws its own as a writer does: alone (rule R16).
fn lock_for_copy(shape: &Shape, layout: &Layout) -> String {
    if layout.locks_table {
        // A session that stops waiting loses its place in the queue: longer than for a row, and shorter than the server waits
        // before it looks for a deadlock, so that no writer is ended for it.
        format!(
            "PERFORM set_config('lock_timeout', '500', true);
        LOCK TABLE {} IN EXCLUSIVE MODE;
        PERFORM set_config('lock_timeout', p_wait_ms::text, true);",
            shape.quoted()
        )
    } else {
        String::new()
    }
}

/// Positions for rows that are copied, from the table's own sequence.
fn draw(position: Option<&Column>) -> String {
    match position.and_then(|column| column.sequence.as_deref()) {
        Some(sequence) => format!(
            "ARRAY(SELECT nextval({}::regclass) FROM generate_series(1, p_count))",
            escaped(sequence)
        ),
        None => "'{}'::bigint[]".to_owned(),
    }
}
