-- Removing a fenced history from its tail, since format 4; with the rows beside it since format 7. Rows may be missing, as they are where a copy
-- is cut back or thrown away because of that.

-- The last event up to p_seq that is there.
CREATE OR REPLACE FUNCTION {schema}.tail_end(
    p_no integer, p_seq bigint, OUT seq bigint, OUT digest bytea
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    SELECT x.position - (p_no::bigint << 40), x.digest INTO seq, digest FROM {schema}.events AS x
        WHERE x.position > (p_no::bigint << 40) AND x.position <= (p_no::bigint << 40) + p_seq
        ORDER BY x.position DESC LIMIT 1;
    IF NOT FOUND THEN
        seq := 0;
        digest := decode(repeat('00', 32), 'hex');
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
    SELECT e.seq, e.digest INTO o_seq, o_digest FROM {schema}.tail_end(v_no, o_seq) AS e;
    DELETE FROM {schema}.event_rows AS x
        WHERE x.position > (v_no::bigint << 40) + o_seq
            AND x.position <= (v_no::bigint << 40) + 1099511627775;
    DELETE FROM {schema}.row_forms AS f WHERE f.tenant_no = v_no AND o_seq = 0;
    UPDATE {schema}.row_forms AS f SET upto_seq = o_seq
        WHERE f.tenant_no = v_no AND f.upto_seq > o_seq;
    IF o_seq = 0 THEN
        DELETE FROM {schema}.streams AS s WHERE s.tenant_no = v_no;
        o_role := 'absent';
    END IF;
    UPDATE {schema}.ledger AS l SET role = o_role, seq = o_seq, digest = o_digest
        WHERE l.tenant = p_tenant;
    RETURN NEXT;
END
{body};

-- Removes up to p_chunk events from the tail of a history that is fenced@p_k, none up to p_seq. Answers
-- the ledger as it was found, under its lock, with the digest kept with event p_seq; and then as it is
-- left, unless it is neither fenced@p_k nor absent@p_k, or does not hold that head.
CREATE OR REPLACE FUNCTION {schema}.cut_back(
    p_tenant uuid, p_wait_ms integer, p_k bigint, p_seq bigint, p_digest bytea, p_chunk bigint
) RETURNS TABLE (o_role text, o_epoch bigint, o_seq bigint, o_digest bytea, o_there bytea)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no  integer;
    v_end bigint;
BEGIN
    PERFORM set_config('lock_timeout', p_wait_ms::text, true);
    SELECT l.role, l.epoch, l.seq, l.digest, l.tenant_no
        INTO o_role, o_epoch, o_seq, o_digest, v_no
        FROM {schema}.ledger AS l WHERE l.tenant = p_tenant FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_seq = 0 THEN
        o_there := decode(repeat('00', 32), 'hex');
    ELSE
        SELECT x.digest INTO o_there FROM {schema}.events AS x
            WHERE x.position = (v_no::bigint << 40) + p_seq;
    END IF;
    RETURN NEXT;
    IF o_role NOT IN ('fenced', 'absent') OR o_epoch <> p_k OR o_seq < p_seq
        OR o_there IS DISTINCT FROM p_digest THEN
        RETURN;
    END IF;
    v_end := greatest(o_seq - p_chunk, p_seq);
    DELETE FROM {schema}.events AS x
        WHERE x.position > (v_no::bigint << 40) + v_end
            AND x.position <= (v_no::bigint << 40) + 1099511627775;
    SELECT e.seq, e.digest INTO o_seq, o_digest FROM {schema}.tail_end(v_no, v_end) AS e;
    IF v_end = p_seq OR o_seq <= p_seq THEN
        o_seq := p_seq;
        o_digest := p_digest;
    END IF;
    DELETE FROM {schema}.event_rows AS x
        WHERE x.position > (v_no::bigint << 40) + o_seq
            AND x.position <= (v_no::bigint << 40) + 1099511627775;
    DELETE FROM {schema}.row_forms AS f WHERE f.tenant_no = v_no AND o_seq = 0;
    UPDATE {schema}.row_forms AS f SET upto_seq = o_seq
        WHERE f.tenant_no = v_no AND f.upto_seq > o_seq;
    UPDATE {schema}.ledger AS l SET seq = o_seq, digest = o_digest WHERE l.tenant = p_tenant;
    RETURN NEXT;
END
{body};
