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
