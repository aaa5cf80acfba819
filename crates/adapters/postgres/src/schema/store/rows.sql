-- What a store has from format 7 on: the rows of tenants that came from a table of another library, beside their events. From
-- the first one on, no rehome of an older format may use the store.

-- Which columns the rows of a tenant have, and the last event that has one.
CREATE TABLE IF NOT EXISTS {schema}.row_forms (
    tenant_no integer PRIMARY KEY,
    upto_seq  bigint  NOT NULL CHECK (upto_seq >= 1),
    form      text    NOT NULL
);

-- `record`: the columns' texts in UTF-8, which the digest of the event covers; not text, because a text of SQLite may have a zero
-- byte. `contents`: SHA-256 of the event's own columns when the row was kept.
CREATE TABLE IF NOT EXISTS {schema}.event_rows (
    position bigint PRIMARY KEY,
    record   bytea  NOT NULL,
    contents bytea  NOT NULL CHECK (length(contents) = 32)
);
