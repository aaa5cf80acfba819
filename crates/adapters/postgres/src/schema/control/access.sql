-- What a control plane has from format 5 on: who may enter. A rehome of format 4 would let anyone in where
-- the gate is closed, so it may not touch the part.

-- One row. `rev` moves with every change of the gate, of tokens and of sessions, but not with last_used_at.
CREATE TABLE {schema}.access (
    id         integer PRIMARY KEY CHECK (id = 1),
    rev        bigint  NOT NULL CHECK (rev >= 0),
    closed     boolean NOT NULL, -- no caller enters without a token
    changed_at bigint,
    changed_by text CHECK ((changed_by IS NULL) = (changed_at IS NULL))
);

INSERT INTO {schema}.access (id, rev, closed) VALUES (1, 0, false);

CREATE TABLE {schema}.tokens (
    token_no     bigint  PRIMARY KEY GENERATED ALWAYS AS IDENTITY, -- the order in which they were made
    id           uuid    NOT NULL UNIQUE,
    name         text    NOT NULL,
    role         text    NOT NULL,
    tenants      text    NOT NULL, -- bound to these, with a space between two
    stores       text    NOT NULL, -- the same
    read_only    boolean NOT NULL,
    hash         bytea   NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of the secret
    created_at   bigint  NOT NULL,
    created_by   text    NOT NULL,
    expires_at   bigint,
    revoked_at   bigint,
    revoked_by   text    CHECK ((revoked_by IS NULL) = (revoked_at IS NULL)),
    last_used_at bigint
);

CREATE TABLE {schema}.sessions (
    hash       bytea  PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the cookie's secret
    token      bytea  NOT NULL CHECK (length(token) = 32),   -- SHA-256 of the token's
    created_at bigint NOT NULL,
    seen_at    bigint NOT NULL,
    expires_at bigint NOT NULL
);

CREATE INDEX sessions_by_token ON {schema}.sessions (token, created_at);
