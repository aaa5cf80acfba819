-- What a control plane has from format 5 on: drains, cordons of stores and pins of tenants.

CREATE TABLE drains (
    id              BLOB    PRIMARY KEY CHECK (length(id) = 16),
    entries         INTEGER NOT NULL CHECK (entries >= 1), -- of its log
    hash            BLOB    NOT NULL CHECK (length(hash) = 32), -- of the last of them
    state           TEXT    NOT NULL,
    over            INTEGER NOT NULL CHECK (over IN (0, 1)),
    settings        TEXT    NOT NULL, -- JSON
    waiting         INTEGER NOT NULL CHECK (waiting >= 0),
    again           INTEGER NOT NULL CHECK (again >= 0),
    moving          INTEGER NOT NULL CHECK (moving >= 0),
    moved           INTEGER NOT NULL CHECK (moved >= 0),
    set_aside       INTEGER NOT NULL CHECK (set_aside >= 0),
    stays           INTEGER NOT NULL CHECK (stays >= 0),
    events          INTEGER NOT NULL CHECK (events >= 0),
    events_moved    INTEGER NOT NULL CHECK (events_moved >= 0),
    failures        INTEGER NOT NULL CHECK (failures >= 0),
    released_minute INTEGER NOT NULL,
    released        INTEGER NOT NULL CHECK (released >= 0),
    created_at      INTEGER NOT NULL,
    created_by      TEXT    NOT NULL,
    ended_at        INTEGER,
    tenants_left    INTEGER CHECK (tenants_left >= 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX drains_by_age ON drains (created_at, id);

CREATE TABLE drain_tenants (
    drain     BLOB    NOT NULL CHECK (length(drain) = 16),
    tenant    BLOB    NOT NULL CHECK (length(tenant) = 16),
    place     INTEGER NOT NULL CHECK (place >= 0),
    source    TEXT    NOT NULL,
    events    INTEGER NOT NULL CHECK (events >= 0),
    target    TEXT,
    state     TEXT    NOT NULL,
    stay      TEXT    CHECK ((stay IS NULL) = (state <> 'stays')),
    tries     INTEGER NOT NULL CHECK (tries >= 0),
    migration BLOB    CHECK (length(migration) = 16),
    holder    TEXT,
    released  INTEGER NOT NULL CHECK (released IN (0, 1)),
    why       TEXT,
    since     INTEGER NOT NULL,
    PRIMARY KEY (drain, tenant)
) STRICT, WITHOUT ROWID;

CREATE INDEX drain_tenants_by_state ON drain_tenants (drain, state, place);
CREATE INDEX drain_tenants_by_place ON drain_tenants (drain, place);

-- Chained as the logs of migrations.
CREATE TABLE drain_log (
    drain BLOB    NOT NULL CHECK (length(drain) = 16),
    entry INTEGER NOT NULL CHECK (entry >= 1),
    at    INTEGER NOT NULL,
    actor TEXT    NOT NULL,
    fact  TEXT    NOT NULL, -- JSON
    hash  BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (drain, entry)
) STRICT, WITHOUT ROWID;

-- The processes that work on a drain.
CREATE TABLE drain_workers (
    drain      BLOB    NOT NULL CHECK (length(drain) = 16),
    holder     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    length_ms  INTEGER NOT NULL CHECK (length_ms >= 0),
    PRIMARY KEY (drain, holder)
) STRICT, WITHOUT ROWID;

CREATE TABLE cordons (
    store TEXT    PRIMARY KEY,
    at    INTEGER NOT NULL,
    actor TEXT    NOT NULL,
    why   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pins (
    tenant BLOB    PRIMARY KEY CHECK (length(tenant) = 16),
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    why    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
