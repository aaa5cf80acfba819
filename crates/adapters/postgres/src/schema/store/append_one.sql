-- One event, as most appends are: the same as `append`, in fewer steps. What is not new and expected
-- goes to `append`, in the same call. For connections that have our settings: READ COMMITTED and
-- `lock_timeout` are not seen to here, and plans rest on indexes only with `enable_seqscan` off.
--
-- Alone among our functions it has no search path of its own: to set one has the server look at each of its
-- plans again at every call, a fifth of an append. Instead every name in it, operators among them, says
-- where it is. OPERATOR() binds equally, from the left, whatever the operator: hence the parentheses.
--
-- What the chain takes that needs no number comes ready from the caller, as for a copy the whole digest
-- does: `p_stream`, `p_kind` and `p_payload` are the Parts of crates/domain/src/digest.rs.
CREATE OR REPLACE FUNCTION {schema}.append_one(
    p_tenant uuid, p_epoch bigint, p_wait_ms integer, p_stream_type text, p_stream_id text,
    p_expected bigint, p_id uuid, p_type text, p_occurred bigint, p_recorded bigint, p_data text,
    p_metadata text, p_stream bytea, p_kind bytea, p_payload bytea
) RETURNS TABLE (
    o_append integer, o_outcome text, o_seq bigint, o_stream_type text, o_stream_id text,
    o_version bigint, o_event_id uuid, o_event_type text, o_occurred_at bigint,
    o_recorded_at bigint, o_data text, o_metadata text, o_digest bytea, o_role text, o_epoch bigint
)
LANGUAGE plpgsql AS {body}
DECLARE
    v_no       integer;
    v_digest   pg_catalog.bytea;
    v_stream   bigint;
    v_recorded bigint;
BEGIN
    -- Later statements of this function see what was committed before they began, so also all that
    -- the transaction that held this lock has written.
    SELECT l.tenant_no, l.seq OPERATOR(pg_catalog.+) 1, l.digest INTO v_no, o_seq, v_digest
        FROM {schema}.ledger AS l
        WHERE (l.tenant OPERATOR(pg_catalog.=) p_tenant)
            AND (l.role OPERATOR(pg_catalog.=) 'active')
            AND (l.epoch OPERATOR(pg_catalog.=) p_epoch)
        FOR NO KEY UPDATE;
    IF FOUND THEN
        -- Everything is queried in statements that are needed anyway: each
        -- expression on its own costs as much as a lookup in an index.
        SELECT 1, 'written', s.stream_no,
               1 OPERATOR(pg_catalog.+)
                   coalesce((SELECT x.version FROM {schema}.events AS x
                             WHERE x.stream_no OPERATOR(pg_catalog.=) s.stream_no
                             ORDER BY x.version DESC LIMIT 1), 0),
               coalesce(p_recorded, (extract(epoch FROM pg_catalog.clock_timestamp())
                                     OPERATOR(pg_catalog.*) 1000000)::bigint)
            INTO o_append, o_outcome, v_stream, o_version, v_recorded
            FROM {schema}.streams AS s
            WHERE (s.tenant_no OPERATOR(pg_catalog.=) v_no)
                AND (s.stream_type OPERATOR(pg_catalog.=) p_stream_type)
                AND (s.stream_id OPERATOR(pg_catalog.=) p_stream_id)
                AND NOT EXISTS (SELECT FROM {schema}.events AS x
                                WHERE (x.tenant_no OPERATOR(pg_catalog.=) v_no)
                                    AND (x.event_id OPERATOR(pg_catalog.=) p_id))
                -- The last event is the one that the ledger says. A stream has an event, so there is one.
                AND EXISTS (SELECT FROM {schema}.events AS x
                            WHERE (x.position OPERATOR(pg_catalog.=)
                                   (((v_no::bigint) OPERATOR(pg_catalog.<<) 40)
                                    OPERATOR(pg_catalog.+) o_seq OPERATOR(pg_catalog.-) 1))
                                AND (x.digest OPERATOR(pg_catalog.=) v_digest));
        IF v_stream IS NOT NULL
            AND ((p_expected OPERATOR(pg_catalog.=) -1)
                 OR (p_expected OPERATOR(pg_catalog.=) (o_version OPERATOR(pg_catalog.-) 1)))
        THEN
            INSERT INTO {schema}.events
                (position, stream_no, version, occurred_at, recorded_at, tenant_no, event_id, digest,
                 event_type, data, metadata)
                VALUES (((v_no::bigint) OPERATOR(pg_catalog.<<) 40) OPERATOR(pg_catalog.+) o_seq,
                        v_stream, o_version, coalesce(p_occurred, v_recorded), v_recorded, v_no, p_id,
                        pg_catalog.sha256(
                            v_digest OPERATOR(pg_catalog.||) pg_catalog.int8send(o_seq)
                            OPERATOR(pg_catalog.||) p_stream
                            OPERATOR(pg_catalog.||) pg_catalog.int8send(o_version)
                            OPERATOR(pg_catalog.||) p_kind
                            OPERATOR(pg_catalog.||)
                                pg_catalog.int8send(coalesce(p_occurred, v_recorded))
                            OPERATOR(pg_catalog.||) pg_catalog.int8send(v_recorded)
                            OPERATOR(pg_catalog.||) p_payload),
                        p_type, p_data, p_metadata)
                RETURNING digest INTO v_digest;
            UPDATE {schema}.ledger AS l SET seq = o_seq, digest = v_digest
                WHERE l.tenant OPERATOR(pg_catalog.=) p_tenant;
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;

    -- A new stream, a known id, another version than expected, a ledger that does not take it, or one that
    -- is not that of the last event.
    RETURN QUERY SELECT * FROM {schema}.append(
        p_tenant, p_epoch, p_wait_ms, ARRAY[p_stream_type], ARRAY[p_stream_id],
        ARRAY[p_expected], ARRAY[1], ARRAY[p_id], ARRAY[p_type], ARRAY[p_occurred],
        ARRAY[p_recorded], ARRAY[p_data], ARRAY[p_metadata]);
END
{body};
