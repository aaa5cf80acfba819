-- Changes of the ledger row. What may follow on what is decided by the domain, on a row that was
-- read before; these write it if the row is still that one.

-- Compare-and-set. p_role NULL: there was no row. p_seq NULL: the head may have grown since, and the
-- answer is the one at which it ends now, with all appends in flight committed or gone. No row: the
-- ledger is another one by now.
CREATE OR REPLACE FUNCTION {schema}.change(
    p_tenant uuid, p_wait_ms integer, p_role text, p_epoch bigint, p_seq bigint, p_digest bytea,
    p_new_role text, p_new_epoch bigint
) RETURNS TABLE (o_role text, o_epoch bigint, o_seq bigint, o_digest bytea)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    PERFORM set_config('lock_timeout', p_wait_ms::text, true);
    IF p_role IS NULL THEN
        RETURN QUERY
            INSERT INTO {schema}.ledger AS l (tenant, role, epoch, seq, digest)
            VALUES (p_tenant, p_new_role, p_new_epoch, 0, decode(repeat('00', 32), 'hex'))
            ON CONFLICT (tenant) DO NOTHING
            RETURNING l.role, l.epoch, l.seq, l.digest;
    ELSE
        RETURN QUERY
            UPDATE {schema}.ledger AS l SET role = p_new_role, epoch = p_new_epoch
            WHERE l.tenant = p_tenant AND l.role = p_role AND l.epoch = p_epoch
                AND (p_seq IS NULL OR (l.seq = p_seq AND l.digest = p_digest))
            RETURNING l.role, l.epoch, l.seq, l.digest;
    END IF;
END
{body};

-- Removes up to p_chunk events from the tail of a history that is fenced@p_k. Answers the ledger as
-- it was found, under its lock, and then as it is left; only the first if it is neither fenced@p_k
-- nor absent@p_k.
CREATE OR REPLACE FUNCTION {schema}.purge(
    p_tenant uuid, p_wait_ms integer, p_k bigint, p_chunk bigint
) RETURNS TABLE (o_role text, o_epoch bigint, o_seq bigint, o_digest bytea)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no integer;
BEGIN
    PERFORM set_config('lock_timeout', p_wait_ms::text, true);
    SELECT l.role, l.epoch, l.seq, l.digest, l.tenant_no
        INTO o_role, o_epoch, o_seq, o_digest, v_no
        FROM {schema}.ledger AS l WHERE l.tenant = p_tenant FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN NEXT;
    IF o_role NOT IN ('fenced', 'absent') OR o_epoch <> p_k THEN
        RETURN;
    END IF;
    o_seq := greatest(o_seq - p_chunk, 0);
    DELETE FROM {schema}.events AS x
        WHERE x.position > (v_no::bigint << 40) + o_seq
            AND x.position <= (v_no::bigint << 40) + 1099511627775;
    IF o_seq = 0 THEN
        DELETE FROM {schema}.streams AS s WHERE s.tenant_no = v_no;
        o_role := 'absent';
        o_digest := decode(repeat('00', 32), 'hex');
    ELSE
        SELECT x.digest INTO o_digest FROM {schema}.events AS x
            WHERE x.position = (v_no::bigint << 40) + o_seq;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no event %, which should be there', o_seq
                USING ERRCODE = 'data_corrupted';
        END IF;
    END IF;
    UPDATE {schema}.ledger AS l SET role = o_role, seq = o_seq, digest = o_digest
        WHERE l.tenant = p_tenant;
    RETURN NEXT;
END
{body};
