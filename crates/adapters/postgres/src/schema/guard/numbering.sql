-- Numbers. The caller of these functions holds the tenant's row in heads, or takes it.

-- What a role, a number or a copy is answered for must be there after a crash, whatever the database's default is
-- (rule R14).
CREATE OR REPLACE FUNCTION {schema}.sync() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END
{body};

-- Numbers up to p_max arrivals in the order of their ids, every visible one (rule R6). Answers how many.
CREATE OR REPLACE FUNCTION {schema}.number_held(p_no integer, p_max integer) RETURNS integer
LANGUAGE plpgsql {row_settings} SET enable_hashjoin = off SET enable_mergejoin = off AS {body}
DECLARE
    v_seq     bigint;
    v_digest  bytea;
    v_history bigint;
    v_order   integer[];
    v_from    bigint;
    v_ids     bigint[] := '{}';
    v_row     record;
BEGIN
    PERFORM {schema}.sync();
    SELECT h.seq, h.digest, h.history_at, h.row_order INTO v_seq, v_digest, v_history, v_order
        FROM {schema}.heads AS h WHERE h.no = p_no;
    v_from := v_history;
    FOR v_row IN
        SELECT a.*, t.ctid IS NOT NULL AS found, sha256(convert_to({row_in_v_order}, 'UTF8')) AS hash
        FROM (SELECT x.* FROM {schema}.arrivals AS x WHERE x.no = p_no AND x.id > v_from
              ORDER BY x.id LIMIT p_max) AS a
        LEFT JOIN {table} AS t ON {key_join}
        ORDER BY a.id
    LOOP
        IF NOT v_row.found THEN
            RAISE EXCEPTION 'rehome: row % of the table came in and is not there any more', v_row.id
                USING ERRCODE = 'RH004';
        END IF;
        v_seq := v_seq + 1;
        v_digest := sha256(v_digest || int8send(v_seq) || v_row.hash);
        INSERT INTO {schema}.positions (no, seq, {key_names}, digest)
            VALUES (p_no, v_seq, {key_of_row}, v_digest);
        v_ids := v_ids || v_row.id;
        IF v_row.id < 0 THEN
            v_history := v_row.id;
        END IF;
    END LOOP;
    IF cardinality(v_ids) = 0 THEN
        RETURN 0;
    END IF;
    -- These and no others: one with a lower id may have become visible meanwhile.
    DELETE FROM {schema}.arrivals AS x WHERE x.no = p_no AND x.id = ANY (v_ids);
    UPDATE {schema}.heads AS h SET seq = v_seq, digest = v_digest, history_at = v_history
        WHERE h.no = p_no;
    RETURN cardinality(v_ids);
END
{body};

-- Numbers some arrivals, unless another process does, and returns the ledger.
CREATE OR REPLACE FUNCTION {schema}.number(p_tenant uuid, p_max integer) RETURNS TABLE (
    o_role text, o_epoch bigint, o_seq bigint, o_digest bytea, o_phase text, o_numbered integer
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no integer;
BEGIN
    SELECT t.no, t.phase INTO v_no, o_phase FROM {schema}.tenants AS t WHERE t.tenant = p_tenant;
    IF v_no IS NULL THEN
        RETURN;
    END IF;
    o_numbered := 0;
    IF o_phase = 'noted' AND EXISTS (SELECT FROM {schema}.arrivals AS x WHERE x.no = v_no) THEN
        PERFORM FROM {schema}.heads AS h WHERE h.no = v_no FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            o_numbered := {schema}.number_held(v_no, p_max);
        END IF;
    END IF;
    SELECT l.role, l.epoch, h.seq, h.digest INTO o_role, o_epoch, o_seq, o_digest
        FROM {schema}.ledger AS l JOIN {schema}.heads AS h ON h.no = l.no WHERE l.no = v_no;
    RETURN NEXT;
END
{body};

-- Notes the history: every row that one snapshot shows, those that arrived among them, in the order of
-- positions, each stream in the order of its versions (rule R7). Answers how many rows there are.
CREATE OR REPLACE FUNCTION {schema}.note_history(p_tenant uuid) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no    integer;
    v_key   text;
    v_phase text;
    v_count bigint;
BEGIN
    SELECT t.no, t.key INTO v_no, v_key FROM {schema}.tenants AS t WHERE t.tenant = p_tenant;
    PERFORM {schema}.sync();
    PERFORM FROM {schema}.heads AS h WHERE h.no = v_no FOR UPDATE;
    SELECT t.phase INTO v_phase FROM {schema}.tenants AS t WHERE t.no = v_no;
    IF v_phase <> 'drained' THEN
        RETURN 0;
    END IF;
    WITH gone AS (DELETE FROM {schema}.arrivals AS x WHERE x.no = v_no),
    history AS (
        SELECT {key_of_t_named}, {version_of_t} AS version,
            max({order_of_t}) OVER (PARTITION BY {stream_columns_of_t} ORDER BY {version_of_t}) AS place
        FROM {table} AS t WHERE {is_tenant})
    INSERT INTO {schema}.arrivals (no, id, {key_names})
        SELECT v_no, row_number() OVER (ORDER BY h.place, h.version, {key_of_h})
                     - count(*) OVER () - 1, {key_of_h}
        FROM history AS h;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    UPDATE {schema}.heads AS h SET history_at = -v_count - 1 WHERE h.no = v_no;
    UPDATE {schema}.tenants AS t SET phase = 'noted', drain = '{}' WHERE t.no = v_no;
    RETURN v_count;
END
{body};
