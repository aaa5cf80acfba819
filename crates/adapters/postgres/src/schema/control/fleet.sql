-- What a control plane has from format 6 on: drains, cordons of stores and pins of tenants.

CREATE TABLE {schema}.drains (
    id              uuid    PRIMARY KEY,
    entries         bigint  NOT NULL CHECK (entries >= 1), -- of its log
    hash            bytea   NOT NULL CHECK (length(hash) = 32), -- of the last of them
    state           text    NOT NULL,
    over            boolean NOT NULL,
    settings        text    NOT NULL, -- JSON
    waiting         bigint  NOT NULL CHECK (waiting >= 0),
    again           bigint  NOT NULL CHECK (again >= 0),
    moving          bigint  NOT NULL CHECK (moving >= 0),
    moved           bigint  NOT NULL CHECK (moved >= 0),
    set_aside       bigint  NOT NULL CHECK (set_aside >= 0),
    stays           bigint  NOT NULL CHECK (stays >= 0),
    events          bigint  NOT NULL CHECK (events >= 0),
    events_moved    bigint  NOT NULL CHECK (events_moved >= 0),
    failures        bigint  NOT NULL CHECK (failures >= 0),
    released_minute bigint  NOT NULL,
    released        bigint  NOT NULL CHECK (released >= 0),
    created_at      bigint  NOT NULL,
    created_by      text    NOT NULL,
    ended_at        bigint,
    tenants_left    bigint  CHECK (tenants_left >= 0)
);

CREATE INDEX drains_by_age ON {schema}.drains (created_at, id);

CREATE TABLE {schema}.drain_tenants (
    drain     uuid    NOT NULL,
    tenant    uuid    NOT NULL,
    place     bigint  NOT NULL CHECK (place >= 0),
    source    text    NOT NULL,
    events    bigint  NOT NULL CHECK (events >= 0),
    target    text,
    state     text    NOT NULL,
    stay      text    CHECK ((stay IS NULL) = (state <> 'stays')),
    tries     bigint  NOT NULL CHECK (tries >= 0),
    migration uuid,
    holder    text,
    released  boolean NOT NULL,
    why       text,
    since     bigint  NOT NULL,
    PRIMARY KEY (drain, tenant)
);

CREATE INDEX drain_tenants_by_state ON {schema}.drain_tenants (drain, state, place);
CREATE INDEX drain_tenants_by_place ON {schema}.drain_tenants (drain, place);

-- Chained as the logs of migrations.
CREATE TABLE {schema}.drain_log (
    drain uuid   NOT NULL,
    entry bigint NOT NULL CHECK (entry >= 1),
    at    bigint NOT NULL,
    actor text   NOT NULL,
    fact  text   NOT NULL, -- JSON
    hash  bytea  NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (drain, entry)
);

-- The processes that work on a drain.
CREATE TABLE {schema}.drain_workers (
    drain      uuid   NOT NULL,
    holder     text   NOT NULL,
    expires_at bigint NOT NULL,
    length_ms  bigint NOT NULL CHECK (length_ms >= 0),
    PRIMARY KEY (drain, holder)
);

CREATE TABLE {schema}.cordons (
    store text   PRIMARY KEY,
    at    bigint NOT NULL,
    actor text   NOT NULL,
    why   text   NOT NULL
);

CREATE TABLE {schema}.pins (
    tenant uuid   PRIMARY KEY,
    at     bigint NOT NULL,
    actor  text   NOT NULL,
    why    text   NOT NULL
);
