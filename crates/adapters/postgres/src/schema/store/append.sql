-- Appends of one tenant, committed together, in one statement and so in one transaction.

-- No row at all: there is no ledger. One row 'ledger', the ledger as it was found, under its lock: it
-- does not take appends at this epoch, or there are none; one row 'damaged', if it does not have the digest
-- of the last event. Otherwise each append has a row: 'written',
-- with the first event's seq and version, or 'judge', with the stream's version, and then one row
-- 'known' for each event whose id is there already. What has to be judged is judged by the domain.
CREATE OR REPLACE FUNCTION {schema}.append(
    p_tenant uuid, p_epoch bigint, p_wait_ms integer,
    -- One element per append; an expectation of -1: any version.
    p_stream_types text[], p_stream_ids text[], p_expected bigint[], p_counts integer[],
    -- One element per event, those of the first append first.
    p_ids uuid[], p_types text[], p_occurred bigint[], p_recorded bigint[], p_data text[],
    p_metadata text[]
) RETURNS TABLE (
    o_append integer, o_outcome text, o_seq bigint, o_stream_type text, o_stream_id text,
    o_version bigint, o_event_id uuid, o_event_type text, o_occurred_at bigint,
    o_recorded_at bigint, o_data text, o_metadata text, o_digest bytea, o_role text, o_epoch bigint
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no       integer;
    v_base     bigint;
    v_seq      bigint;
    v_digest   bytea;
    v_now      bigint;
    v_from     integer := 1;
    v_to       integer;
    v_ids      uuid[];
    v_stream   bigint;
    v_version  bigint;
    v_recorded bigint;
    v_occurred bigint;
    v_new      boolean;
    v_known    boolean;
    v_set      text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'an append needs default_transaction_isolation = ''read committed'''
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- Assigned: as a statement of its own it would cost several times as much.
    v_set := set_config('lock_timeout', p_wait_ms::text, true);

    -- Later statements of this function see what was committed before they began, so also all that
    -- the transaction that held this lock has written.
    SELECT l.tenant_no, l.role, l.epoch, l.seq, l.digest
        INTO v_no, o_role, o_epoch, o_seq, o_digest
        FROM {schema}.ledger AS l WHERE l.tenant = p_tenant FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF o_role <> 'active' OR o_epoch <> p_epoch OR cardinality(p_counts) = 0 THEN
        o_append := 0;
        o_outcome := 'ledger';
        RETURN NEXT;
        RETURN;
    END IF;
    v_base := v_no::bigint << 40;
    v_seq := o_seq;
    -- A history is not continued on a ledger that was changed behind its back.
    IF (v_seq = 0 AND o_digest <> decode(repeat('00', 32), 'hex'))
        OR (v_seq > 0 AND NOT EXISTS (SELECT FROM {schema}.events AS x
                                      WHERE x.position = v_base + v_seq AND x.digest = o_digest))
    THEN
        o_append := 0;
        o_outcome := 'damaged';
        RETURN NEXT;
        RETURN;
    END IF;
    v_digest := o_digest;
    o_digest := NULL;
    v_now := extract(epoch FROM clock_timestamp()) * 1000000;

    FOR v_n IN 1 .. cardinality(p_counts) LOOP
        v_to := v_from + p_counts[v_n] - 1;
        o_append := v_n;
        -- Everything by one query, each part by an index. An id is looked up by a query that has only
        -- one plan: with `= ANY` and no statistics yet, the planner reads the whole tenant.
        SELECT s.stream_no, coalesce(s.version, 0), k.known
            INTO v_stream, v_version, v_known
            FROM (SELECT EXISTS (SELECT FROM {schema}.events AS x
                                 WHERE x.tenant_no = v_no AND x.event_id = p_ids[v_from]) AS known) AS k
            LEFT JOIN LATERAL (
                SELECT t.stream_no, (SELECT max(x.version) FROM {schema}.events AS x
                                     WHERE x.stream_no = t.stream_no) AS version
                FROM {schema}.streams AS t
                WHERE t.tenant_no = v_no AND t.stream_type = p_stream_types[v_n]
                    AND t.stream_id = p_stream_ids[v_n] LIMIT 1) AS s ON true;

        v_new := NOT v_known AND v_to >= v_from
            AND (p_expected[v_n] = -1 OR p_expected[v_n] = v_version);
        IF v_new AND v_to > v_from THEN
            v_ids := p_ids[v_from:v_to];
            v_new := (SELECT count(DISTINCT x.id) FROM unnest(v_ids) AS x (id)) = v_to - v_from + 1
                AND NOT EXISTS (SELECT FROM unnest(v_ids) AS u (id)
                                CROSS JOIN LATERAL (SELECT FROM {schema}.events AS x
                                                    WHERE x.tenant_no = v_no AND x.event_id = u.id
                                                    LIMIT 1) AS y);
        END IF;
        IF NOT v_new THEN
            o_outcome := 'judge';
            o_version := v_version;
            RETURN NEXT;
            RETURN QUERY
                SELECT v_n, 'known', x.position - v_base, s.stream_type, s.stream_id, x.version,
                       x.event_id, x.event_type, x.occurred_at, x.recorded_at, x.data, x.metadata,
                       x.digest, NULL::text, NULL::bigint
                FROM (SELECT DISTINCT y.id FROM unnest(p_ids[v_from:v_to]) AS y (id)) AS u
                CROSS JOIN LATERAL (SELECT y.* FROM {schema}.events AS y
                                    WHERE y.tenant_no = v_no AND y.event_id = u.id
                                    LIMIT 1) AS x
                CROSS JOIN LATERAL (SELECT y.stream_type, y.stream_id FROM {schema}.streams AS y
                                    WHERE y.stream_no = x.stream_no
                                    LIMIT 1) AS s;
            v_from := v_to + 1;
            CONTINUE;
        END IF;

        IF v_stream IS NULL THEN
            INSERT INTO {schema}.streams (tenant_no, stream_type, stream_id)
                VALUES (v_no, p_stream_types[v_n], p_stream_ids[v_n])
                RETURNING stream_no INTO v_stream;
        END IF;
        o_outcome := 'written';
        o_seq := v_seq + 1;
        o_version := v_version + 1;
        RETURN NEXT;
        FOR v_i IN v_from .. v_to LOOP
            v_seq := v_seq + 1;
            v_version := v_version + 1;
            v_recorded := coalesce(p_recorded[v_i], v_now);
            v_occurred := coalesce(p_occurred[v_i], v_recorded);
            -- digest(n) = SHA-256(digest(n-1) || canonical(event n)), as crates/domain/src/digest.rs
            -- has it. Written out: a function of its own with a pinned path would cost a call per event.
            v_digest := sha256(
                v_digest || int8send(v_seq)
                || int4send(octet_length(p_stream_types[v_n])) || convert_to(p_stream_types[v_n], 'UTF8')
                || int4send(octet_length(p_stream_ids[v_n])) || convert_to(p_stream_ids[v_n], 'UTF8')
                || int8send(v_version) || uuid_send(p_ids[v_i])
                || int4send(octet_length(p_types[v_i])) || convert_to(p_types[v_i], 'UTF8')
                || int8send(v_occurred) || int8send(v_recorded)
                || sha256(convert_to(p_data[v_i], 'UTF8')) || sha256(convert_to(p_metadata[v_i], 'UTF8')));
            INSERT INTO {schema}.events
                (position, stream_no, version, occurred_at, recorded_at, tenant_no, event_id,
                 digest, event_type, data, metadata)
                VALUES (v_base + v_seq, v_stream, v_version, v_occurred, v_recorded, v_no,
                        p_ids[v_i], v_digest, p_types[v_i], p_data[v_i], p_metadata[v_i]);
        END LOOP;
        v_from := v_to + 1;
    END LOOP;

    UPDATE {schema}.ledger AS l SET seq = v_seq, digest = v_digest
        WHERE l.tenant = p_tenant AND l.seq <> v_seq;
END
{body};
