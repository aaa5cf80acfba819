-- A store, formats 1 to 5: they differ in functions; `anchors.sql` has what came with format 6.
--
-- `position` = tenant_no * 2^40 + seq: a tenant's history lies together in the primary key, in its
-- order, and needs no index of its own. Names of streams are kept once and their rows never change:
-- a stream's version is that of its last event.

-- What every append writes has no CHECKs: the server would parse each of them again every time, a
-- tenth of an append. The code that reads a row refuses one that makes no sense.
CREATE TABLE {schema}.ledger (
    tenant    uuid    PRIMARY KEY,
    tenant_no integer NOT NULL UNIQUE GENERATED ALWAYS AS IDENTITY (MAXVALUE 8388607),
    role      text    NOT NULL, -- active, replica, fenced or absent
    epoch     bigint  NOT NULL,
    seq       bigint  NOT NULL, -- below 2^40
    digest    bytea   NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE {schema}.streams (
    stream_no   bigint  PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_no   integer NOT NULL,
    stream_type text    COLLATE "C" NOT NULL,
    stream_id   text    COLLATE "C" NOT NULL,
    UNIQUE (tenant_no, stream_type, stream_id)
);

-- `data` and `metadata` may be NULL so that a payload can one day be erased with its hash kept. They
-- are text, because json would parse what is kept verbatim and jsonb would change it.
CREATE TABLE {schema}.events (
    position    bigint  PRIMARY KEY,
    stream_no   bigint  NOT NULL,
    version     bigint  NOT NULL, -- from 1
    occurred_at bigint  NOT NULL,
    recorded_at bigint  NOT NULL,
    tenant_no   integer NOT NULL,
    event_id    uuid    NOT NULL,
    digest      bytea   NOT NULL,
    event_type  text    COLLATE "C" NOT NULL,
    data        text,
    metadata    text
);

-- For retries, and for the promise that an id is there once.
CREATE UNIQUE INDEX events_by_id ON {schema}.events (tenant_no, event_id);
-- For reading a stream and for its version, and for the promise that a version is there once.
CREATE UNIQUE INDEX events_by_stream ON {schema}.events (stream_no, version);

-- For people and independent checkers: plain columns, from which the chain can be recomputed.
CREATE VIEW {schema}.ledgers AS
SELECT tenant, role, epoch, seq, encode(digest, 'hex') AS digest, tenant_no
FROM {schema}.ledger;

CREATE VIEW {schema}.history AS
SELECT l.tenant,
       e.position & 1099511627775 AS seq,
       s.stream_type,
       s.stream_id,
       e.version,
       e.event_id,
       e.event_type,
       e.occurred_at,
       e.recorded_at,
       e.data,
       e.metadata,
       encode(e.digest, 'hex') AS digest
FROM {schema}.ledger AS l
JOIN {schema}.events AS e
    ON e.position BETWEEN l.tenant_no::bigint << 40
                      AND (l.tenant_no::bigint << 40) | 1099511627775
LEFT JOIN {schema}.streams AS s ON s.stream_no = e.stream_no;
