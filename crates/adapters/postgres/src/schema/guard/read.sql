-- Reads. Each is one statement, so of one snapshot; the texts are written with settings of their own.

-- The ledger, and events after p_after: at most p_limit, and p_bytes unless it is the first.
CREATE OR REPLACE FUNCTION {schema}.rows_of_feed(
    p_tenant uuid, p_after bigint, p_limit bigint, p_bytes bigint
) RETURNS TABLE (
    l_role text, l_epoch bigint, l_seq bigint, l_digest bytea, l_pending boolean, l_phase text, l_order text,
    seq bigint, stream_type text, stream_id text, version bigint, event_id uuid, event_type text,
    occurred_at bigint, recorded_at bigint, data text, metadata text, digest bytea, whole text
)
LANGUAGE sql STABLE {row_settings} SET enable_hashjoin = off SET enable_mergejoin = off AS {body}
    SELECT l.role, l.epoch, h.seq, h.digest,
        EXISTS (SELECT FROM {schema}.arrivals AS x WHERE x.no = l.no), n.phase, array_to_string(h.row_order, ','),
        NULL::bigint, NULL::text, NULL::text, NULL::bigint, NULL::uuid, NULL::text, NULL::bigint, NULL::bigint,
        NULL::text, NULL::text, NULL::bytea, NULL::text
    FROM {schema}.tenants AS n JOIN {schema}.ledger AS l ON l.no = n.no JOIN {schema}.heads AS h ON h.no = n.no
    WHERE n.tenant = p_tenant
    UNION ALL
    (SELECT NULL::text, NULL::bigint, NULL::bigint, NULL::bytea, NULL::boolean, NULL::text, NULL::text,
        e.seq, e.stream_type, e.stream_id, e.version, e.event_id, e.event_type, e.occurred_at, e.recorded_at,
        e.data, e.metadata, e.digest, e.whole
     FROM (SELECT r.*, sum(160 + 2 * octet_length(r.whole)) OVER (ORDER BY r.seq ROWS UNBOUNDED PRECEDING) AS bytes,
                  row_number() OVER (ORDER BY r.seq ROWS UNBOUNDED PRECEDING) AS n
           FROM (SELECT a.seq, {event_of_t}, a.digest, {row_in_p_order} AS whole
                 FROM {schema}.positions AS a LEFT JOIN {table} AS t ON {key_join}
                 WHERE a.no = (SELECT x.no FROM {schema}.tenants AS x WHERE x.tenant = p_tenant)
                     AND a.seq > p_after AND a.seq <= p_after + p_limit
                 ORDER BY a.seq) AS r) AS e
     WHERE e.bytes <= p_bytes OR e.n = 1
     ORDER BY e.seq)
{body};

-- The same of one stream, from a version on, with the stream's version.
CREATE OR REPLACE FUNCTION {schema}.rows_of_stream(
    p_tenant uuid, p_type text, p_id text[], p_from bigint, p_limit bigint, p_bytes bigint
) RETURNS TABLE (
    l_role text, l_epoch bigint, l_seq bigint, l_digest bytea, l_pending boolean, l_phase text, l_order text,
    seq bigint, stream_type text, stream_id text, version bigint, event_id uuid, event_type text,
    occurred_at bigint, recorded_at bigint, data text, metadata text, digest bytea, whole text,
    stream_version bigint
)
LANGUAGE sql STABLE {row_settings} AS {body}
    WITH rows AS (
        SELECT a.seq, {event_of_t}, a.digest, {row_in_p_order} AS whole
        FROM {table} AS t
        JOIN {schema}.positions AS a ON {key_join}
            AND a.no = (SELECT x.no FROM {schema}.tenants AS x WHERE x.tenant = p_tenant)
        WHERE {is_stream})
    SELECT l.role, l.epoch, h.seq, h.digest,
        EXISTS (SELECT FROM {schema}.arrivals AS x WHERE x.no = l.no), n.phase, array_to_string(h.row_order, ','),
        NULL::bigint, NULL::text, NULL::text, NULL::bigint, NULL::uuid, NULL::text, NULL::bigint, NULL::bigint,
        NULL::text, NULL::text, NULL::bytea, NULL::text, (SELECT max(r.version) FROM rows AS r)
    FROM {schema}.tenants AS n JOIN {schema}.ledger AS l ON l.no = n.no JOIN {schema}.heads AS h ON h.no = n.no
    WHERE n.tenant = p_tenant
    UNION ALL
    (SELECT NULL::text, NULL::bigint, NULL::bigint, NULL::bytea, NULL::boolean, NULL::text, NULL::text,
        e.seq, e.stream_type, e.stream_id, e.version, e.event_id, e.event_type, e.occurred_at, e.recorded_at,
        e.data, e.metadata, e.digest, e.whole, NULL::bigint
     FROM (SELECT r.*, sum(160 + 2 * octet_length(r.whole)) OVER (ORDER BY r.version ROWS UNBOUNDED PRECEDING)
                      AS bytes,
                  row_number() OVER (ORDER BY r.version ROWS UNBOUNDED PRECEDING) AS n
           FROM (SELECT * FROM rows AS r WHERE r.version >= p_from ORDER BY r.version LIMIT p_limit) AS r) AS e
     WHERE e.bytes <= p_bytes OR e.n = 1
     ORDER BY e.version)
{body};

-- The streams after a name, counted from the rows that have numbers up to p_max_seq.
CREATE OR REPLACE FUNCTION {schema}.streams(p_tenant uuid, p_max_seq bigint, p_type text, p_id text, p_limit bigint)
RETURNS TABLE (stream_type text, stream_id text, version bigint, events bigint, last bigint)
LANGUAGE sql STABLE {row_settings} AS {body}
    SELECT s.stream_type, s.stream_id, s.version, s.events, s.last
    FROM (SELECT r.stream_type, r.stream_id, max(r.version) AS version,
              count(*) FILTER (WHERE r.seq <= p_max_seq) AS events,
              max(r.version) FILTER (WHERE r.seq <= p_max_seq) AS last
          FROM (SELECT a.seq, {stream_type_of_t} COLLATE "C" AS stream_type,
                    {stream_id_of_t} COLLATE "C" AS stream_id, {version_of_t} AS version
                FROM {schema}.positions AS a JOIN {table} AS t ON {key_join}
                WHERE a.no = (SELECT x.no FROM {schema}.tenants AS x WHERE x.tenant = p_tenant)) AS r
          WHERE (r.stream_type, r.stream_id) > (p_type COLLATE "C", p_id COLLATE "C")
          GROUP BY r.stream_type, r.stream_id) AS s
    WHERE s.events > 0
    ORDER BY s.stream_type, s.stream_id LIMIT p_limit
{body};

-- The tenants' names in the table.
CREATE OR REPLACE FUNCTION {schema}.keys() RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS {body}
    SELECT DISTINCT {tenant_of_t} FROM {table} AS t WHERE {tenant_of_t} IS NOT NULL
{body};
