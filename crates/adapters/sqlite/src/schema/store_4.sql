-- What a store has from format 4 on: the rows of tenants that came from a table of another library, beside their events. From
-- the first one on, no rehome of an older format may use the file.

-- Which columns the rows of a tenant have, and the last event that has one.
CREATE TABLE row_forms (
    tenant_no INTEGER PRIMARY KEY,
    upto_seq  INTEGER NOT NULL CHECK (upto_seq >= 1),
    form      TEXT    NOT NULL
) STRICT;

-- `record`: the columns' texts, which the digest of the event covers. `contents`: SHA-256 of the event's own columns when the row
-- was kept.
CREATE TABLE event_rows (
    position INTEGER PRIMARY KEY,
    record   TEXT    NOT NULL,
    contents BLOB    NOT NULL CHECK (length(contents) = 32)
) STRICT;
