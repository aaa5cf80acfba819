-- Changes of the ledger. What may follow on what is decided by the domain, on a row that was read before.

-- What of the table has to be as it was installed: our triggers, the columns, the partitions (rule R15).
CREATE OR REPLACE FUNCTION {schema}.fingerprint() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS {body}
    WITH tables AS (
        SELECT {table_in_text}::regclass::oid AS oid
        UNION SELECT p.relid::oid FROM pg_partition_tree({table_in_text}::regclass) AS p)
    SELECT md5(concat_ws('|',
        (SELECT string_agg(concat_ws(',', g.tgrelid, g.oid, g.xmin, g.tgname, g.tgenabled, g.tgfoid), ';'
                           ORDER BY g.tgrelid, g.tgname)
         FROM pg_trigger AS g JOIN tables AS b ON b.oid = g.tgrelid WHERE g.tgname LIKE {trigger_like}),
        (SELECT string_agg(concat_ws(',', a.attrelid, a.attnum, a.attname, a.atttypid, a.attisdropped), ';'
                           ORDER BY a.attrelid, a.attnum)
         FROM pg_attribute AS a JOIN tables AS b ON b.oid = a.attrelid WHERE a.attnum > 0),
        (SELECT string_agg(b.oid::text, ';' ORDER BY b.oid) FROM tables AS b)))
{body};

-- Guardings begin and end one at a time. A lock whose key is one number is none of the tenants', which have two.
CREATE OR REPLACE FUNCTION {schema}.one_at_a_time() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    PERFORM pg_advisory_xact_lock({class}::bigint);
END
{body};

-- Begins to guard a tenant; one at a time. Done already: nothing.
CREATE OR REPLACE FUNCTION {schema}.announce(p_tenant uuid, p_key text, p_role text, p_epoch bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no integer;
    v_own xid8;
BEGIN
    PERFORM {schema}.sync();
    PERFORM {schema}.one_at_a_time();
    v_own := pg_current_xact_id();
    INSERT INTO {schema}.tenants AS t (tenant, key, phase) VALUES (p_tenant, p_key, 'announced')
        ON CONFLICT (tenant) DO NOTHING RETURNING t.no INTO v_no;
    IF v_no IS NULL THEN
        RETURN;
    END IF;
    -- What is undone with this transaction leaves a mark too many.
    PERFORM setval('{schema_in_text}.marks', (SELECT m.last_value FROM {schema}.marks AS m) | {mark_of_key})
        FROM (SELECT p_key AS key) AS x;
    INSERT INTO {schema}.ledger (no, key, role, epoch) VALUES (v_no, p_key, p_role, p_epoch);
    INSERT INTO {schema}.heads (no, seq, digest) VALUES (v_no, 0, decode(repeat('00', 32), 'hex'));
    PERFORM setval('{schema_in_text}.guarding', v_own::text::bigint);
END
{body};

-- The virtual transactions that may write the table at this moment.
CREATE OR REPLACE FUNCTION {schema}.in_the_table() RETURNS text[]
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS {body}
    SELECT coalesce(array_agg(DISTINCT k.virtualtransaction), '{}')
    FROM pg_locks AS k
    WHERE k.locktype = 'relation' AND k.granted
        AND k.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        AND k.mode NOT IN ('AccessShareLock', 'RowShareLock')
        AND k.pid IS DISTINCT FROM pg_backend_pid()
        AND (k.relation IN ({table_in_text}::regclass, {heads_in_text}::regclass) OR k.relation IN
             (SELECT p.relid FROM pg_partition_tree({table_in_text}::regclass) AS p
              UNION SELECT p.relid FROM pg_partition_tree({heads_in_text}::regclass) AS p))
{body};

-- Those of p_drain that have not ended, by name. A server that begins again forgets the virtual ids of prepared
-- transactions and makes ids that begin with -1: all of those are waited for.
CREATE OR REPLACE FUNCTION {schema}.still_in_the_table(p_drain text[]) RETURNS SETOF text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS {body}
    SELECT DISTINCT CASE WHEN k.pid IS NULL
            THEN 'the prepared transaction ' || coalesce((SELECT min(quote_literal(x.gid)) FROM pg_prepared_xacts AS x
                JOIN pg_locks AS o ON o.locktype = 'transactionid' AND o.transactionid = x.transaction
                WHERE o.virtualtransaction = k.virtualtransaction), k.virtualtransaction)
        ELSE 'process ' || k.pid || coalesce((SELECT ' (' || concat_ws(', ', a.usename,
                nullif(a.application_name, ''), 'since ' || date_trunc('second', a.xact_start)::text) || ')'
                FROM pg_stat_activity AS a WHERE a.pid = k.pid), '') END
    FROM pg_locks AS k
    WHERE k.locktype = 'relation' AND (k.virtualtransaction = ANY (p_drain)
        OR k.virtualtransaction LIKE '-1/%' AND k.mode NOT IN ('AccessShareLock', 'RowShareLock')
            AND k.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
            AND (k.relation = {table_in_text}::regclass OR k.relation IN
                 (SELECT p.relid FROM pg_partition_tree({table_in_text}::regclass) AS p)))
{body};

-- Whom the guarding of a tenant still waits for (rule R1): transactions that could write the table when the
-- guard came, and may have asked before it. Remembered, so that who comes later is not waited for.
CREATE OR REPLACE FUNCTION {schema}.drain(p_tenant uuid) RETURNS TABLE (o_who text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no    integer;
    v_phase text;
    v_drain text[];
BEGIN
    SELECT t.no, t.phase, t.drain INTO v_no, v_phase, v_drain
        FROM {schema}.tenants AS t WHERE t.tenant = p_tenant FOR UPDATE;
    IF v_no IS NULL OR v_phase IN ('drained', 'noted') THEN
        RETURN;
    END IF;
    IF v_phase = 'announced' THEN
        v_drain := {schema}.in_the_table();
        UPDATE {schema}.tenants AS t SET phase = 'draining', drain = v_drain WHERE t.no = v_no;
    END IF;
    RETURN QUERY SELECT w.who FROM {schema}.still_in_the_table(v_drain) AS w (who);
    IF NOT FOUND THEN
        UPDATE {schema}.tenants AS t SET phase = 'drained', drain = '{}' WHERE t.no = v_no;
    END IF;
END
{body};

-- How many rows there are of a tenant.
CREATE OR REPLACE FUNCTION {schema}.count_rows(p_key text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS {body}
DECLARE
    v_key text := p_key;
BEGIN
    RETURN (SELECT count(*) FROM {table} AS t WHERE {is_tenant});
END
{body};

-- A table that has rows of a tenant: the events', or that of streams' heads. NULL: none has.
CREATE OR REPLACE FUNCTION {schema}.has_rows(p_key text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS {body}
DECLARE
    v_key text := p_key;
BEGIN
    IF EXISTS (SELECT FROM {table} AS t WHERE {is_tenant}) THEN
        RETURN {table_in_text};
    END IF;
    RETURN {heads_of_tenant};
END
{body};

-- The target of a first copy: guarded, drained, without rows, so nothing has to be noted.
CREATE OR REPLACE FUNCTION {schema}.note_nothing(p_tenant uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no  integer;
    v_key text;
BEGIN
    SELECT t.no, t.key INTO v_no, v_key FROM {schema}.tenants AS t
        WHERE t.tenant = p_tenant AND t.phase = 'drained' FOR UPDATE;
    IF v_no IS NULL THEN
        RETURN true;
    END IF;
    IF {schema}.has_rows(v_key) IS NOT NULL THEN
        RETURN false;
    END IF;
    UPDATE {schema}.tenants AS t SET phase = 'noted' WHERE t.no = v_no;
    RETURN true;
END
{body};

-- Compare-and-set of role and epoch. p_seq NULL: the head may have grown since. No row: it is another ledger.
CREATE OR REPLACE FUNCTION {schema}.change(
    p_tenant uuid, p_wait_ms integer, p_role text, p_epoch bigint, p_seq bigint, p_digest bytea,
    p_new_role text, p_new_epoch bigint
) RETURNS TABLE (o_role text, o_epoch bigint, o_seq bigint, o_digest bytea)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no integer;
BEGIN
    PERFORM {schema}.sync();
    PERFORM set_config('lock_timeout', p_wait_ms::text, true);
    SELECT t.no INTO v_no FROM {schema}.tenants AS t WHERE t.tenant = p_tenant;
    PERFORM FROM {schema}.heads AS h WHERE h.no = v_no FOR UPDATE;
    UPDATE {schema}.ledger AS l SET role = p_new_role, epoch = p_new_epoch, waits_until = NULL,
            gone_to = CASE WHEN p_new_role IN ('fenced', 'absent') THEN l.gone_to END
        FROM {schema}.heads AS h
        WHERE l.no = v_no AND h.no = v_no AND l.role = p_role AND l.epoch = p_epoch
            AND (p_seq IS NULL OR (h.seq = p_seq AND h.digest = p_digest))
        RETURNING h.seq, h.digest INTO o_seq, o_digest;
    IF FOUND THEN
        o_role := p_new_role;
        o_epoch := p_new_epoch;
        RETURN NEXT;
    END IF;
END
{body};

-- The fence, in one call (rule R13): the numbering row first, then the lock, which waits for the writers that
-- are inside; the role; and what they left without a number. READ COMMITTED: each statement sees what was
-- committed while the one before it waited.
CREATE OR REPLACE FUNCTION {schema}.fence(
    p_tenant uuid, p_lock_ms integer, p_from bigint, p_to bigint, p_wait_ms integer
) RETURNS TABLE (o_role text, o_epoch bigint, o_seq bigint, o_digest bytea)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no  integer;
    v_key text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a fence needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM {schema}.sync();
    PERFORM set_config('lock_timeout', p_lock_ms::text, true);
    SELECT t.no, t.key INTO v_no, v_key FROM {schema}.tenants AS t WHERE t.tenant = p_tenant;
    IF v_no IS NULL THEN
        RETURN;
    END IF;
    -- Done already, or not ours to do: no lock (rule R10).
    IF EXISTS (SELECT FROM {schema}.ledger AS l WHERE l.no = v_no AND l.role = 'active' AND l.epoch = p_from) THEN
        IF NOT EXISTS (SELECT FROM {schema}.tenants AS t WHERE t.no = v_no AND t.phase = 'noted') THEN
            RAISE EXCEPTION 'rehome: the history of the tenant is not noted yet' USING ERRCODE = 'RH005';
        END IF;
        PERFORM FROM {schema}.heads AS h WHERE h.no = v_no FOR UPDATE;
        PERFORM pg_advisory_xact_lock({class}, hashtext(v_key));
        UPDATE {schema}.ledger AS l SET role = 'fenced', epoch = p_to, gone_to = NULL,
                waits_until = clock_timestamp() + p_wait_ms * interval '1 millisecond'
            WHERE l.no = v_no AND l.role = 'active' AND l.epoch = p_from;
        IF FOUND THEN
            WHILE {schema}.number_held(v_no, 10000) > 0 LOOP
            END LOOP;
            IF {schema}.fingerprint() <> (SELECT i.fingerprint FROM {schema}.installed AS i) THEN
                RAISE EXCEPTION 'rehome: triggers, columns or partitions of % are not as they were', {table_in_text}
                    USING ERRCODE = 'RH006';
            END IF;
        END IF;
    END IF;
    RETURN QUERY SELECT l.role, l.epoch, h.seq, h.digest
        FROM {schema}.ledger AS l JOIN {schema}.heads AS h ON h.no = l.no WHERE l.no = v_no;
END
{body};

-- Writers that wait for a switch that is over are sent away.
CREATE OR REPLACE FUNCTION {schema}.settle(p_tenant uuid, p_epoch bigint, p_to text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS {body}
    UPDATE {schema}.ledger AS l SET waits_until = NULL, gone_to = p_to
    FROM {schema}.tenants AS t
    WHERE t.tenant = p_tenant AND l.no = t.no AND l.epoch <= p_epoch AND l.role = 'fenced'
{body};

-- Continues a copy: locks the rows, answers the ledger as it is, and, if it is replica@p_m at this head,
-- positions for p_count rows. From here on the transaction may write the tenant's rows. The first of a copy decides in which
-- order rows are digested; o_fits: p_order is that order.
CREATE OR REPLACE FUNCTION {schema}.begin_extend(
    p_tenant uuid, p_wait_ms integer, p_m bigint, p_seq bigint, p_digest bytea, p_count integer, p_order text
) RETURNS TABLE (
    o_role text, o_epoch bigint, o_seq bigint, o_digest bytea, o_no integer, o_positions bigint[], o_fits boolean
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_key   text;
    v_order integer[] := string_to_array(p_order, ',')::integer[];
BEGIN
    PERFORM set_config('lock_timeout', p_wait_ms::text, true);
    SELECT t.no INTO o_no FROM {schema}.tenants AS t WHERE t.tenant = p_tenant;
    IF o_no IS NULL THEN
        RETURN;
    END IF;
    SELECT h.seq, h.digest, h.row_order IS NOT DISTINCT FROM v_order INTO o_seq, o_digest, o_fits
        FROM {schema}.heads AS h WHERE h.no = o_no FOR UPDATE;
    SELECT l.role, l.epoch, l.key INTO o_role, o_epoch, v_key FROM {schema}.ledger AS l
        WHERE l.no = o_no FOR UPDATE;
    IF o_role = 'replica' AND o_epoch = p_m AND o_seq = p_seq AND o_digest = p_digest THEN
        IF NOT o_fits THEN
            IF o_seq > 0 THEN
                RETURN NEXT;
                RETURN;
            END IF;
            UPDATE {schema}.heads AS h SET row_order = v_order WHERE h.no = o_no;
            o_fits := true;
        END IF;
        {lock_for_copy}
        o_positions := {draw_positions};
        UPDATE {schema}.ledger AS l SET copying = pg_current_xact_id(),
                floor = greatest(l.floor, (SELECT max(x) FROM unnest(o_positions) AS x))
            WHERE l.no = o_no;
        -- For the rows of the tenant, in this transaction: the triggers look at it first.
        PERFORM set_config('rehome_guard.copying', concat_ws(' ', {class}, pg_current_xact_id(), v_key), true);
    END IF;
    RETURN NEXT;
END
{body};

-- Ends it, with the head that was reached.
CREATE OR REPLACE FUNCTION {schema}.end_extend(p_no integer, p_seq bigint, p_digest bytea) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS {body}
    SELECT {schema}.sync();
    UPDATE {schema}.ledger SET copying = NULL WHERE no = p_no;
    UPDATE {schema}.heads SET seq = p_seq, digest = p_digest WHERE no = p_no;
{body};

-- Removes up to p_chunk rows from the tail of a history fenced at p_epoch, but none up to p_to_seq, which must
-- have this digest. A row before and one after; one only: refused. p_bury: nothing left means absent.
CREATE OR REPLACE FUNCTION {schema}.cut_tail(
    p_tenant uuid, p_wait_ms integer, p_epoch bigint, p_to_seq bigint, p_to_digest bytea, p_chunk bigint,
    p_bury boolean
) RETURNS TABLE (o_role text, o_epoch bigint, o_seq bigint, o_digest bytea, o_there bytea)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS {body}
DECLARE
    v_no   integer;
    v_from bigint;
BEGIN
    PERFORM set_config('lock_timeout', p_wait_ms::text, true);
    SELECT t.no INTO v_no FROM {schema}.tenants AS t WHERE t.tenant = p_tenant;
    IF v_no IS NULL THEN
        RETURN;
    END IF;
    SELECT h.seq, h.digest INTO o_seq, o_digest FROM {schema}.heads AS h WHERE h.no = v_no FOR UPDATE;
    SELECT l.role, l.epoch INTO o_role, o_epoch FROM {schema}.ledger AS l WHERE l.no = v_no FOR UPDATE;
    o_there := CASE p_to_seq WHEN 0 THEN decode(repeat('00', 32), 'hex')
        ELSE (SELECT p.digest FROM {schema}.positions AS p WHERE p.no = v_no AND p.seq = p_to_seq) END;
    RETURN NEXT;
    IF o_role = 'absent' AND o_epoch = p_epoch AND p_bury THEN
        RETURN NEXT;
        RETURN;
    END IF;
    IF o_role <> 'fenced' OR o_epoch <> p_epoch OR o_seq < p_to_seq OR o_there IS DISTINCT FROM p_to_digest THEN
        RETURN;
    END IF;
    v_from := greatest(o_seq - p_chunk, p_to_seq);
    UPDATE {schema}.ledger AS l SET copying = pg_current_xact_id() WHERE l.no = v_no;
    {delete_rows_of_a}
    DELETE FROM {schema}.positions AS p WHERE p.no = v_no AND p.seq > v_from;
    o_seq := v_from;
    o_digest := CASE v_from WHEN 0 THEN decode(repeat('00', 32), 'hex')
        ELSE (SELECT p.digest FROM {schema}.positions AS p WHERE p.no = v_no AND p.seq = v_from) END;
    IF v_from = 0 AND p_bury THEN
        o_role := 'absent';
    END IF;
    UPDATE {schema}.heads AS h SET seq = o_seq, digest = o_digest WHERE h.no = v_no;
    UPDATE {schema}.ledger AS l SET copying = NULL, role = o_role WHERE l.no = v_no;
    RETURN NEXT;
END
{body};

-- Whether the tenant's guard may go: at the authority only (rule R3). It is decided now, and stays in force until
-- those who hold the table have ended, who may have drawn a position below the floor (rule R11). A new migration
-- calls it off.
CREATE OR REPLACE FUNCTION {schema}.leave(p_tenant uuid, p_epoch bigint, p_by uuid) RETURNS TABLE (
    o_role text, o_epoch bigint, o_seq bigint, o_digest bytea
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no integer;
BEGIN
    SELECT t.no INTO v_no FROM {schema}.tenants AS t WHERE t.tenant = p_tenant FOR UPDATE;
    SELECT l.role, l.epoch, h.seq, h.digest INTO o_role, o_epoch, o_seq, o_digest
        FROM {schema}.ledger AS l JOIN {schema}.heads AS h ON h.no = l.no WHERE l.no = v_no;
    IF v_no IS NULL THEN
        RETURN;
    END IF;
    IF o_role = 'active' AND o_epoch = p_epoch THEN
        UPDATE {schema}.tenants AS t SET leaving = {schema}.in_the_table(), leaving_by = p_by
            WHERE t.no = v_no AND t.phase = 'noted' AND t.leaving_by IS DISTINCT FROM p_by;
    END IF;
    RETURN NEXT;
END
{body};

-- The guard stays: the decision that it goes is withdrawn.
CREATE OR REPLACE FUNCTION {schema}.stay(p_tenant uuid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS {body}
    UPDATE {schema}.tenants SET leaving = NULL, leaving_by = NULL
    WHERE tenant = p_tenant AND leaving_by IS NOT NULL
{body};

-- Removes the tenant's guard, once the transactions that {schema}.leave found have ended. Returns those that it waits
-- for; a row without a name: the removal was withdrawn; no row: the guard is gone. What was noted and numbered goes with it, in this transaction: a later
-- guarding numbers all rows anew.
CREATE OR REPLACE FUNCTION {schema}.unguard(p_tenant uuid, p_epoch bigint, p_by uuid, p_lock_ms integer)
RETURNS TABLE (o_who text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_no      integer;
    v_key     text;
    v_leaving text[];
    v_by      uuid;
BEGIN
    PERFORM {schema}.sync();
    PERFORM set_config('lock_timeout', p_lock_ms::text, true);
    PERFORM {schema}.one_at_a_time();
    SELECT t.no, t.key, t.leaving, t.leaving_by INTO v_no, v_key, v_leaving, v_by
        FROM {schema}.tenants AS t WHERE t.tenant = p_tenant FOR UPDATE;
    IF v_no IS NULL THEN
        RETURN;
    END IF;
    IF v_by IS DISTINCT FROM p_by THEN
        RETURN QUERY SELECT NULL::text;
        RETURN;
    END IF;
    RETURN QUERY SELECT w.who FROM {schema}.still_in_the_table(v_leaving) AS w (who);
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM {schema}.heads AS h WHERE h.no = v_no FOR UPDATE;
    PERFORM pg_advisory_xact_lock({class}, hashtext(v_key));
    IF NOT EXISTS (SELECT FROM {schema}.ledger AS l
            WHERE l.no = v_no AND l.role = 'active' AND l.epoch = p_epoch)
    THEN
        RETURN QUERY SELECT NULL::text;
        RETURN;
    END IF;
    DELETE FROM {schema}.arrivals AS x WHERE x.no = v_no;
    DELETE FROM {schema}.positions AS p WHERE p.no = v_no;
    DELETE FROM {schema}.heads AS h WHERE h.no = v_no;
    DELETE FROM {schema}.ledger AS l WHERE l.no = v_no;
    DELETE FROM {schema}.tenants AS t WHERE t.no = v_no;
END
{body};

-- Marks of tenants that are guarded, and of no others. In a transaction of its own: a sequence does not roll back,
-- so what it is computed from has to be committed.
CREATE OR REPLACE FUNCTION {schema}.mark() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    PERFORM {schema}.one_at_a_time();
    PERFORM setval('{schema_in_text}.marks', coalesce((SELECT bit_or({mark_of_key}) FROM {schema}.ledger AS x), 0));
END
{body};

-- Who holds the tenant's lock or row while its server process waits for its client; the same text twice is one
-- that did nothing in between.
CREATE OR REPLACE FUNCTION {schema}.holders(p_tenant uuid) RETURNS TABLE (pid integer, done text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS {body}
    SELECT a.pid, concat_ws(' ', a.pid, a.backend_start, a.xact_start, a.query_start, a.state_change,
        c.bytes_processed, c.tuples_processed)
    FROM pg_stat_activity AS a LEFT JOIN pg_stat_progress_copy AS c ON c.pid = a.pid
    WHERE a.wait_event_type = 'Client' AND a.pid IN (
        SELECT k.pid FROM pg_locks AS k
            JOIN {schema}.tenants AS t ON k.objid = (hashtext(t.key)::bigint & 4294967295)::oid
            WHERE t.tenant = p_tenant AND k.granted AND k.locktype = 'advisory'
                AND k.classid = {class}::oid AND k.objsubid = 2
                AND k.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        UNION
        SELECT k.pid FROM {schema}.tenants AS t JOIN {schema}.heads AS h ON h.no = t.no
            JOIN pg_locks AS k ON k.locktype = 'transactionid' AND k.transactionid = h.xmax
                AND k.granted AND k.mode = 'ExclusiveLock'
            WHERE t.tenant = p_tenant)
{body};
