-- Continuing a replica. The caller has recomputed the chain from p_digest over the events.

-- Locks the ledger row and answers it; no row: there is none. If it is replica@p_m at this head, the
-- streams get their numbers (missing ones are made), and both arrays are in the order given.
CREATE OR REPLACE FUNCTION {schema}.begin_extend(
    p_tenant uuid, p_wait_ms integer, p_m bigint, p_seq bigint, p_digest bytea,
    p_stream_types text[], p_stream_ids text[]
) RETURNS TABLE (
    o_role text, o_epoch bigint, o_seq bigint, o_digest bytea,
    o_tenant_no integer, o_stream_nos bigint[], o_versions bigint[]
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    PERFORM set_config('lock_timeout', p_wait_ms::text, true);
    SELECT l.role, l.epoch, l.seq, l.digest, l.tenant_no
        INTO o_role, o_epoch, o_seq, o_digest, o_tenant_no
        FROM {schema}.ledger AS l WHERE l.tenant = p_tenant FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF o_role = 'replica' AND o_epoch = p_m AND o_seq = p_seq AND o_digest = p_digest THEN
        INSERT INTO {schema}.streams (tenant_no, stream_type, stream_id)
            SELECT o_tenant_no, u.stream_type, u.stream_id
            FROM unnest(p_stream_types, p_stream_ids) AS u (stream_type, stream_id)
            WHERE NOT EXISTS (
                SELECT FROM {schema}.streams AS s
                WHERE s.tenant_no = o_tenant_no AND s.stream_type = u.stream_type
                    AND s.stream_id = u.stream_id);
        SELECT array_agg(s.stream_no ORDER BY u.n),
               array_agg(coalesce((SELECT max(x.version) FROM {schema}.events AS x
                                   WHERE x.stream_no = s.stream_no), 0) ORDER BY u.n)
            INTO o_stream_nos, o_versions
            FROM unnest(p_stream_types, p_stream_ids) WITH ORDINALITY
                AS u (stream_type, stream_id, n)
            CROSS JOIN LATERAL (
                SELECT t.stream_no FROM {schema}.streams AS t
                WHERE t.tenant_no = o_tenant_no AND t.stream_type = u.stream_type
                    AND t.stream_id = u.stream_id
                LIMIT 1) AS s;
    END IF;
    RETURN NEXT;
END
{body};

-- A few events, in one statement. Answers the ledger as it was found, under its lock; the events are
-- in if it is replica@p_m at the head given.
CREATE OR REPLACE FUNCTION {schema}.extend(
    p_tenant uuid, p_wait_ms integer, p_m bigint, p_seq bigint, p_digest bytea,
    p_stream_types text[], p_stream_ids text[],
    -- One element per event; p_streams: which of the streams above, from 1.
    p_streams integer[], p_versions bigint[], p_ids uuid[], p_types text[], p_occurred bigint[],
    p_recorded bigint[], p_data text[], p_metadata text[], p_digests bytea[]
) RETURNS TABLE (o_role text, o_epoch bigint, o_seq bigint, o_digest bytea)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no       integer;
    v_streams  bigint[];
    v_versions bigint[];
    v_count    integer := cardinality(p_ids);
    v_bad      record;
BEGIN
    SELECT b.o_role, b.o_epoch, b.o_seq, b.o_digest, b.o_tenant_no, b.o_stream_nos, b.o_versions
        INTO o_role, o_epoch, o_seq, o_digest, v_no, v_streams, v_versions
        FROM {schema}.begin_extend(p_tenant, p_wait_ms, p_m, p_seq, p_digest,
                                   p_stream_types, p_stream_ids) AS b;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN NEXT;
    IF v_streams IS NULL OR v_count = 0 THEN
        RETURN;
    END IF;
    SELECT u.n, u.version, u.next INTO v_bad
        FROM (SELECT x.n, x.version, v_versions[x.stream]
                         + row_number() OVER (PARTITION BY x.stream ORDER BY x.n) AS next
              FROM unnest(p_streams, p_versions) WITH ORDINALITY AS x (stream, version, n)) AS u
        WHERE u.version <> u.next LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a stream whose next version is %; event % of the source says %',
            v_bad.next, p_seq + v_bad.n, v_bad.version USING ERRCODE = 'data_corrupted';
    END IF;
    INSERT INTO {schema}.events
        (position, stream_no, version, occurred_at, recorded_at, tenant_no, event_id, digest,
         event_type, data, metadata)
        SELECT (v_no::bigint << 40) + p_seq + u.n, v_streams[u.stream], u.version, u.occurred,
               u.recorded, v_no, u.id, u.digest, u.event_type, u.data, u.metadata
        FROM unnest(p_streams, p_versions, p_ids, p_types, p_occurred, p_recorded, p_data,
                    p_metadata, p_digests) WITH ORDINALITY
            AS u (stream, version, id, event_type, occurred, recorded, data, metadata, digest, n)
        ORDER BY u.n;
    UPDATE {schema}.ledger AS l SET seq = p_seq + v_count, digest = p_digests[v_count]
        WHERE l.tenant = p_tenant;
END
{body};
