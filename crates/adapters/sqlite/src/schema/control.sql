-- A control plane, as format 1 had it; `control_2.sql` has what came with format 2.

CREATE TABLE meta (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    kind          TEXT    NOT NULL CHECK (kind = 'control_plane'),
    format        INTEGER NOT NULL,
    oldest_reader INTEGER NOT NULL, -- the oldest rehome, by format, that may read the file
    oldest_writer INTEGER NOT NULL, -- the oldest that may write it
    deployment    TEXT    NOT NULL,
    identity      TEXT    NOT NULL,
    created_at    INTEGER NOT NULL  -- microseconds since 1970, UTC, as all times here
) STRICT;

CREATE TABLE routes (
    tenant      BLOB    PRIMARY KEY CHECK (length(tenant) = 16),
    rev         INTEGER NOT NULL CHECK (rev >= 1),
    store       TEXT    NOT NULL,
    epoch       INTEGER NOT NULL CHECK (epoch >= 1),
    prev_epoch  INTEGER NOT NULL CHECK (prev_epoch >= 0),
    n           INTEGER NOT NULL CHECK (n >= epoch),
    m           INTEGER NOT NULL CHECK (m BETWEEN 0 AND n),
    base        INTEGER NOT NULL CHECK (base >= 0),
    migration   BLOB    CHECK (length(migration) = 16),
    phase       TEXT    CHECK ((phase IS NULL) = (migration IS NULL)),
    deadline_ms INTEGER NOT NULL CHECK (deadline_ms >= 0),
    created     INTEGER NOT NULL CHECK (created IN (0, 1)),
    rollback_window INTEGER NOT NULL CHECK (rollback_window IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE migrations (
    id               BLOB    PRIMARY KEY CHECK (length(id) = 16),
    tenant           BLOB    NOT NULL CHECK (length(tenant) = 16),
    source           TEXT    NOT NULL,
    target           TEXT    NOT NULL,
    m                INTEGER NOT NULL CHECK (m >= 1),
    phase            TEXT    NOT NULL,
    state            TEXT    NOT NULL, -- JSON
    options          TEXT    NOT NULL, -- JSON
    cutover_attempts INTEGER NOT NULL CHECK (cutover_attempts >= 0),
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    completed_at     INTEGER,
    error            TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX migrations_by_age ON migrations (created_at, id);
CREATE INDEX migrations_by_tenant ON migrations (tenant, created_at, id);

-- hash = SHA-256(previous hash, u64 entry, i64 at, str actor, str fact); see the port.
CREATE TABLE log (
    migration BLOB    NOT NULL CHECK (length(migration) = 16),
    entry     INTEGER NOT NULL CHECK (entry >= 1),
    at        INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    fact      TEXT    NOT NULL, -- JSON
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (migration, entry)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    migration  BLOB    PRIMARY KEY CHECK (length(migration) = 16),
    holder     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    migration        BLOB    PRIMARY KEY CHECK (length(migration) = 16),
    read_back_m      INTEGER CHECK (read_back_m >= 0),
    read_back_seq    INTEGER CHECK (read_back_seq >= 0),
    read_back_digest BLOB    CHECK (length(read_back_digest) = 32),
    copy_rate        REAL    NOT NULL,
    verified_seq     INTEGER CHECK (verified_seq >= 0),
    updated_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    tenant BLOB    NOT NULL CHECK (length(tenant) = 16),
    name   TEXT    NOT NULL,
    seq    INTEGER NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
