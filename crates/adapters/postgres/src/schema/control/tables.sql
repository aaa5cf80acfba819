-- A control plane, as format 1 had it; `memos.sql` has what came with format 2.

CREATE TABLE {schema}.routes (
    tenant          uuid    PRIMARY KEY,
    rev             bigint  NOT NULL CHECK (rev >= 1),
    store           text    NOT NULL,
    epoch           bigint  NOT NULL CHECK (epoch >= 1),
    prev_epoch      bigint  NOT NULL CHECK (prev_epoch >= 0),
    n               bigint  NOT NULL CHECK (n >= epoch),
    m               bigint  NOT NULL CHECK (m BETWEEN 0 AND n),
    base            bigint  NOT NULL CHECK (base >= 0),
    migration       uuid,
    phase           text    CHECK ((phase IS NULL) = (migration IS NULL)),
    deadline_ms     bigint  NOT NULL CHECK (deadline_ms >= 0),
    created         boolean NOT NULL,
    rollback_window boolean NOT NULL
);

CREATE TABLE {schema}.migrations (
    id               uuid   PRIMARY KEY,
    tenant           uuid   NOT NULL,
    source           text   NOT NULL,
    target           text   NOT NULL,
    m                bigint NOT NULL CHECK (m >= 1),
    phase            text   NOT NULL,
    state            text   NOT NULL, -- JSON
    options          text   NOT NULL, -- JSON
    cutover_attempts bigint NOT NULL CHECK (cutover_attempts >= 0),
    created_at       bigint NOT NULL, -- microseconds since 1970, UTC, as all times here
    started_at       bigint,
    completed_at     bigint,
    error            text
);

CREATE INDEX migrations_by_age ON {schema}.migrations (created_at, id);
CREATE INDEX migrations_by_tenant ON {schema}.migrations (tenant, created_at, id);

-- hash = SHA-256(previous hash, u64 entry, i64 at, str actor, str fact); see the port. The fact is
-- text and not json: the hash is over its bytes.
CREATE TABLE {schema}.log (
    migration uuid   NOT NULL,
    entry     bigint NOT NULL CHECK (entry >= 1),
    at        bigint NOT NULL,
    actor     text   NOT NULL,
    fact      text   NOT NULL, -- JSON
    hash      bytea  NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (migration, entry)
);

CREATE TABLE {schema}.leases (
    migration  uuid    PRIMARY KEY,
    holder     text    NOT NULL,
    expires_at bigint  NOT NULL, -- by this server's clock
    taken_over boolean NOT NULL  -- whether the holder before was another one
);

CREATE TABLE {schema}.marks (
    migration        uuid             PRIMARY KEY,
    read_back_m      bigint           CHECK (read_back_m >= 0),
    read_back_seq    bigint           CHECK (read_back_seq >= 0),
    read_back_digest bytea            CHECK (length(read_back_digest) = 32),
    copy_rate        double precision NOT NULL,
    verified_seq     bigint           CHECK (verified_seq >= 0),
    updated_at       bigint           NOT NULL
);

-- Names are distinguished by the SHA-256 of their UTF-8: they may be of any length, and hold what a text
-- may not.
CREATE TABLE {schema}.checkpoints (
    tenant    uuid   NOT NULL,
    name_hash bytea  NOT NULL CHECK (length(name_hash) = 32),
    name      text   NOT NULL, -- for people
    seq       bigint NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (tenant, name_hash)
);
