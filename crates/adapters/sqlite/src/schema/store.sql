-- A store, as format 1 had it; `store_2.sql` has what came with format 2.
--
-- `position` = tenant_no * 2^40 + seq: a tenant's history lies together, in its order, and needs
-- no index of its own. Names of streams are kept once.

CREATE TABLE meta (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    kind          TEXT    NOT NULL CHECK (kind = 'store'),
    format        INTEGER NOT NULL,
    oldest_reader INTEGER NOT NULL, -- the oldest rehome, by format, that may read the file
    oldest_writer INTEGER NOT NULL, -- the oldest that may write it
    deployment    TEXT    NOT NULL,
    identity      TEXT    NOT NULL,
    created_at    INTEGER NOT NULL  -- microseconds since 1970, UTC, as all times here
) STRICT;

CREATE TABLE ledger (
    tenant_no INTEGER PRIMARY KEY CHECK (tenant_no BETWEEN 1 AND 8388607),
    tenant    BLOB    NOT NULL UNIQUE CHECK (length(tenant) = 16),
    role      TEXT    NOT NULL CHECK (role IN ('active', 'replica', 'fenced', 'absent')),
    epoch     INTEGER NOT NULL CHECK (epoch >= 0),
    seq       INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 1099511627775),
    digest    BLOB    NOT NULL CHECK (length(digest) = 32)
) STRICT;

CREATE TABLE streams (
    stream_no   INTEGER PRIMARY KEY,
    tenant_no   INTEGER NOT NULL,
    stream_type TEXT    NOT NULL,
    stream_id   TEXT    NOT NULL,
    version     INTEGER NOT NULL CHECK (version >= 0),
    UNIQUE (tenant_no, stream_type, stream_id)
) STRICT;

-- `data` and `metadata` may be NULL so that a payload can one day be erased with its hash kept.
CREATE TABLE events (
    position    INTEGER PRIMARY KEY,
    tenant_no   INTEGER GENERATED ALWAYS AS (position >> 40) VIRTUAL,
    stream_no   INTEGER NOT NULL,
    version     INTEGER NOT NULL CHECK (version >= 1),
    event_id    BLOB    NOT NULL CHECK (length(event_id) = 16),
    event_type  TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    data        TEXT,
    metadata    TEXT,
    digest      BLOB    NOT NULL CHECK (length(digest) = 32)
) STRICT;

CREATE UNIQUE INDEX events_by_id ON events (tenant_no, event_id);
CREATE UNIQUE INDEX events_by_stream ON events (stream_no, version);

-- For people and independent checkers: plain columns, from which the chain can be recomputed.
CREATE VIEW ledgers AS
SELECT lower(substr(hex(tenant), 1, 8) || '-' || substr(hex(tenant), 9, 4) || '-' ||
             substr(hex(tenant), 13, 4) || '-' || substr(hex(tenant), 17, 4) || '-' ||
             substr(hex(tenant), 21)) AS tenant,
       role, epoch, seq, lower(hex(digest)) AS digest, tenant_no
FROM ledger;

CREATE VIEW history AS
SELECT l.tenant AS tenant,
       e.position & 1099511627775 AS seq,
       s.stream_type AS stream_type,
       s.stream_id AS stream_id,
       e.version AS version,
       lower(substr(hex(e.event_id), 1, 8) || '-' || substr(hex(e.event_id), 9, 4) || '-' ||
             substr(hex(e.event_id), 13, 4) || '-' || substr(hex(e.event_id), 17, 4) || '-' ||
             substr(hex(e.event_id), 21)) AS event_id,
       e.event_type AS event_type,
       e.occurred_at AS occurred_at,
       e.recorded_at AS recorded_at,
       e.data AS data,
       e.metadata AS metadata,
       lower(hex(e.digest)) AS digest
FROM ledgers AS l
CROSS JOIN events AS e
    ON e.position BETWEEN (l.tenant_no << 40) AND ((l.tenant_no << 40) | 1099511627775)
LEFT JOIN streams AS s ON s.stream_no = e.stream_no;
