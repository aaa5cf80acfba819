-- What a control plane has from format 4 on: who may enter. A rehome of format 3 would let anyone in where
-- the gate is closed, so it may not touch the file.

-- One row. `rev` moves with every change of the gate, of tokens and of sessions, but not with last_used_at.
CREATE TABLE access (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    rev        INTEGER NOT NULL CHECK (rev >= 0),
    closed     INTEGER NOT NULL CHECK (closed IN (0, 1)), -- no caller enters without a token
    changed_at INTEGER,
    changed_by TEXT CHECK ((changed_by IS NULL) = (changed_at IS NULL))
) STRICT;

INSERT INTO access (id, rev, closed) VALUES (1, 0, 0);

CREATE TABLE tokens (
    token_no     INTEGER PRIMARY KEY, -- the order in which they were made
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    tenants      TEXT    NOT NULL, -- bound to these, with a space between two
    stores       TEXT    NOT NULL, -- the same
    read_only    INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    hash         BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of the secret
    created_at   INTEGER NOT NULL,
    created_by   TEXT    NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    revoked_by   TEXT    CHECK ((revoked_by IS NULL) = (revoked_at IS NULL)),
    last_used_at INTEGER
) STRICT;

CREATE TABLE sessions (
    hash       BLOB    PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the cookie's secret
    token      BLOB    NOT NULL CHECK (length(token) = 32),   -- SHA-256 of the token's
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_token ON sessions (token, created_at);
