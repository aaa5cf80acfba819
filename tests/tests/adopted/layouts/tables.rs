//! Tables for the same events, with their layouts.

/// A table, its layout, and how its writers insert.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) tables: String,
    pub(super) layout: String,
    /// A row of the tenant: `$1` is the number of its stream, `$2` of the event in it from 1.
    pub(super) insert: String,
    /// All rows of the tenant, part by part, as texts that are the same in both tables.
    pub(super) rows: String,
}

fn table(tables: &str, layout: &str, insert: &str, rows: &str) -> Table {
    let [tables, layout, insert, rows] = [tables, layout, insert, rows].map(str::to_owned);
    Table { tables, layout, insert, rows }
}

/// What writers insert, in the order tenant, stream, type of stream, version, type, content, metadata, note.
const VALUES: &str = "('acme', 'o-$1', 'Order', $2, 'Placed' || ($2 % 3), '{\"n\": $2, \"price\": 12.50}', \
    '{\"trace\": \"t-$1\"}', CASE WHEN $2 % 4 = 0 THEN NULL ELSE 'a note, (\"' || $2 || '\\\")' END";

/// A table of the house on a server.
pub(super) fn shop() -> Table {
    let insert = "INSERT INTO shop_events (customer, order_no, kind, revision, what, body, headers, note) VALUES ";
    table(
        "CREATE TABLE shop_events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
            uid uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, customer text NOT NULL, order_no text NOT NULL, \
            kind text NOT NULL, revision integer NOT NULL, what text NOT NULL, body jsonb NOT NULL, headers jsonb, \
            at timestamptz NOT NULL DEFAULT clock_timestamp(), note text, UNIQUE (customer, kind, order_no, revision))",
        "name = \"shop\"\ntable = \"shop_events\"\n[columns]\ntenant = \"customer\"\nstream_type = \"kind\"\n\
         stream_id = \"order_no\"\nversion = \"revision\"\nposition = \"id\"\nevent_id = \"uid\"\nevent_type = \"what\"\n\
         occurred_at = \"at\"\ndata = \"body\"\nmetadata = \"headers\"\n",
        &format!("{insert}{VALUES})"),
        "SELECT concat_ws('|', order_no, kind, revision, what, body::text, headers::text, \
            to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), coalesce(note, 'NULL'), uid) \
         FROM shop_events WHERE customer = 'acme'",
    )
}

/// The same in another schema. In the order of their names, most of its columns are elsewhere than those of the shop.
pub(super) fn entries() -> Table {
    let insert = "INSERT INTO \"Log\".entries (\"owner of\", a_stream, topic, \"N\", \"b type\", content, z_meta, note) VALUES ";
    table(
        "CREATE SCHEMA \"Log\"; CREATE TABLE \"Log\".entries (content jsonb NOT NULL, \
            loaded timestamptz NOT NULL DEFAULT now(), note text, \"b type\" varchar(90) NOT NULL, z_meta jsonb, \
            \"N\" bigint NOT NULL, \"no\" bigserial PRIMARY KEY, \"When\" timestamptz NOT NULL DEFAULT clock_timestamp(), \
            topic text NOT NULL, a_stream text NOT NULL, \"owner of\" text NOT NULL, \
            entry uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, UNIQUE (a_stream, topic, \"owner of\", \"N\"))",
        "name = \"log\"\nschema = \"Log\"\ntable = \"entries\"\n[columns]\ntenant = \"owner of\"\nstream_type = \"topic\"\n\
         stream_id = \"a_stream\"\nversion = \"N\"\nposition = \"no\"\nevent_id = \"entry\"\nevent_type = \"b type\"\n\
         occurred_at = \"When\"\ndata = \"content\"\nmetadata = \"z_meta\"\nanew = [\"loaded\"]\n",
        &format!("{insert}{VALUES})"),
        "SELECT concat_ws('|', a_stream, topic, \"N\", \"b type\", content::text, z_meta::text, \
            to_char(\"When\" AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), coalesce(note, 'NULL'), entry) \
         FROM \"Log\".entries WHERE \"owner of\" = 'acme'",
    )
}

/// The same on a server with contents that are texts, as a file has them.
pub(super) fn entries_in_texts() -> Table {
    let Table { tables, layout, insert, rows } = entries();
    Table { tables: tables.replace("jsonb", "text"), layout, insert, rows }
}

/// A random UUID, and the present time in UTC with six digits after the second, of which the last is not 0.
const IN_A_FILE: &str = ", lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) \
    || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))), \
    strftime('%Y-%m-%dT%H:%M:%f001+00:00', 'now'))";

/// The shop in a file.
pub(super) fn shop_in_a_file() -> Table {
    let insert = "INSERT INTO shop_events (customer, order_no, kind, revision, what, body, headers, note, uid, at) VALUES ";
    table(
        "CREATE TABLE shop_events (id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, customer TEXT NOT NULL, \
            order_no TEXT NOT NULL, kind TEXT NOT NULL, revision INTEGER NOT NULL, what TEXT NOT NULL, body TEXT NOT NULL, \
            headers TEXT, at TEXT NOT NULL, note TEXT, UNIQUE (customer, kind, order_no, revision)); \
         CREATE INDEX of_customer ON shop_events (customer)",
        &shop().layout,
        &format!("{insert}{VALUES}{IN_A_FILE}"),
        "SELECT order_no || '|' || kind || '|' || revision || '|' || what || '|' || body || '|' || headers || '|' \
            || substr(at, 1, 26) || '|' || coalesce(note, 'NULL') || '|' || uid FROM shop_events WHERE customer = 'acme'",
    )
}

/// The log in a file.
pub(super) fn entries_in_a_file() -> Table {
    let insert = "INSERT INTO entries (\"owner of\", a_stream, topic, \"N\", \"b type\", content, z_meta, note, entry, \"When\") \
        VALUES ";
    table(
        "CREATE TABLE entries (content TEXT NOT NULL, note TEXT, \"b type\" TEXT NOT NULL, z_meta TEXT, \
            \"N\" INTEGER NOT NULL, \"no\" INTEGER PRIMARY KEY AUTOINCREMENT, \"When\" TEXT NOT NULL, topic TEXT NOT NULL, \
            a_stream TEXT NOT NULL, \"owner of\" TEXT NOT NULL, entry TEXT NOT NULL UNIQUE, \
            loaded TEXT DEFAULT CURRENT_TIMESTAMP, UNIQUE (a_stream, topic, \"owner of\", \"N\")); \
         CREATE INDEX of_owner ON entries (\"owner of\")",
        &entries().layout,
        &format!("{insert}{VALUES}{IN_A_FILE}"),
        "SELECT a_stream || '|' || topic || '|' || \"N\" || '|' || \"b type\" || '|' || content || '|' || z_meta || '|' \
            || substr(\"When\", 1, 26) || '|' || coalesce(note, 'NULL') || '|' || entry FROM entries \
         WHERE \"owner of\" = 'acme'",
    )
}
