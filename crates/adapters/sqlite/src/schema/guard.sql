-- The guard beside a table that is not ours, format 1.
--
-- The library that writes the table has a SQLite of its own, which reads all of the schema and may be old: nothing here
-- needs more than SQLite 3.8.2. Tables that triggers write have no constraint that could fail: a writer's
-- INSERT OR IGNORE would then lose the row in silence.

CREATE TABLE rehome_guard_meta (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    kind          TEXT    NOT NULL,
    format        INTEGER NOT NULL,
    oldest_reader INTEGER NOT NULL,
    oldest_writer INTEGER NOT NULL,
    deployment    TEXT    NOT NULL,
    identity      TEXT    NOT NULL,
    created_at    INTEGER NOT NULL
);

-- What was installed, one row.
CREATE TABLE rehome_guard_installed (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    layout   TEXT NOT NULL, -- as it was configured
    columns  TEXT NOT NULL, -- what a row's digest covers, in its order
    triggers TEXT NOT NULL  -- the statements
);

-- Whom the triggers look after, with the ledger. `key` is as the table has it; no type, so that nothing is converted.
CREATE TABLE rehome_guard_tenants (
    tenant_no    INTEGER PRIMARY KEY CHECK (tenant_no BETWEEN 1 AND 8388607),
    tenant       BLOB    NOT NULL UNIQUE CHECK (length(tenant) = 16),
    key                  NOT NULL UNIQUE,
    role         TEXT    NOT NULL CHECK (role IN ('active', 'replica', 'fenced', 'absent')),
    epoch        INTEGER NOT NULL CHECK (epoch >= 0),
    seq          INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 1099511627775),
    digest       BLOB    NOT NULL CHECK (length(digest) = 32),
    settled      INTEGER NOT NULL DEFAULT 0, -- 1: the switch away from here is published
    phase        TEXT    NOT NULL CHECK (phase IN ('announced', 'history', 'noted')),
    history_from INTEGER NOT NULL, -- history up to this position has numbers
    history_to   INTEGER NOT NULL, -- rows up to this position were there when the tenant was first guarded
    floor        INTEGER NOT NULL  -- no row comes in at this position or before it
);

-- Rows that have no number yet, in the order in which they came.
CREATE TABLE rehome_guard_arrivals (
    id        INTEGER PRIMARY KEY,
    tenant_no INTEGER,
    position  INTEGER
);
CREATE INDEX rehome_guard_arrivals_of ON rehome_guard_arrivals (tenant_no);

-- Numbers: `place` = tenant_no * 2^40 + seq, as in a store of rehome.
CREATE TABLE rehome_guard_positions (
    place    INTEGER PRIMARY KEY,
    position INTEGER NOT NULL UNIQUE,
    digest   BLOB    NOT NULL CHECK (length(digest) = 32)
);

-- Guarded rows that share a key with a row that comes in: if it comes in all the same, they were replaced.
CREATE TABLE rehome_guard_clashes (
    position INTEGER
);
