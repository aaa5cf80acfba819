-- What runs in the transactions of other people's writers, as our role.

-- The condition of the triggers of an inserted row: the bit of the tenant with this hash is set, or is not known. A function,
-- because the server reads a condition as a text again for each statement, and a call is short. It runs as the writer,
-- with the writer's search path: setting another one takes longer than the rest, and each name here has its schema.
CREATE OR REPLACE FUNCTION {schema}.marked(p_marks regclass, p_hash integer) RETURNS boolean
LANGUAGE plpgsql AS {body}
BEGIN
    RETURN coalesce(
        pg_catalog.int8ne(
            pg_catalog.int8and(
                pg_catalog.int8shr(pg_catalog.pg_sequence_last_value(p_marks), pg_catalog.int4and(p_hash, 63)),
                1::pg_catalog.int8),
            0::pg_catalog.int8),
        true);
END
{body};

-- An old snapshot does not show the guard (rule R2): the transaction is sent back.
CREATE OR REPLACE FUNCTION {schema}.see_the_guard() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted')
        AND NOT pg_visible_in_snapshot(
            (SELECT g.last_value FROM {schema}.guarding AS g)::text::xid8, pg_current_snapshot())
    THEN
        RAISE EXCEPTION 'rehome: a tenant of this table was guarded after the transaction began'
            USING ERRCODE = 'serialization_failure', HINT = 'Repeat the transaction.';
    END IF;
END
{body};

-- BEFORE INSERT: may the row come in? Assignments, where a statement would do the same: they begin no query.
CREATE OR REPLACE FUNCTION {schema}.guard_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_key      text := {tenant_of_new};
    v_own      xid8;
    v_lock     text;
    v_role     text;
    v_until    timestamptz;
    v_gone_to  text;
    v_floor    bigint;
    v_copying  xid8;
    v_patient  boolean;
BEGIN
    IF v_key IS NULL THEN
        RETURN NEW;
    END IF;
    -- Before any wait: who reads up to the oldest running transaction would skip the row (rule R5).
    v_own := pg_current_xact_id();
    -- A row that begin_extend announced, in its own transaction: no other transaction has its session's user and its id.
    IF current_setting('rehome_guard.copying', true) <> '' THEN
        IF current_setting('rehome_guard.copying') = concat_ws(' ', {class}, v_own, v_key)
            AND session_user = current_user
        THEN
            RETURN NEW;
        END IF;
    END IF;
    -- By the name: whether the tenant is guarded is looked at under the lock, with its role.
    v_lock := pg_advisory_xact_lock_shared({class}, hashtext(v_key))::text;
    -- READ UNCOMMITTED is another name of it here.
    v_patient := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
    LOOP
        IF v_patient THEN
            SELECT l.role, l.waits_until, l.gone_to, l.floor, l.copying
                INTO v_role, v_until, v_gone_to, v_floor, v_copying
                FROM {schema}.ledger AS l WHERE l.key = v_key;
        ELSE
            SELECT l.role, l.waits_until, l.gone_to, l.floor, l.copying
                INTO v_role, v_until, v_gone_to, v_floor, v_copying
                FROM {schema}.ledger AS l WHERE l.key = v_key FOR SHARE;
        END IF;
        IF NOT FOUND THEN
            IF NOT v_patient THEN
                PERFORM {schema}.see_the_guard();
            END IF;
            RETURN NEW;
        END IF;
        IF v_role = 'active' THEN
            {floor_check}
            RETURN NEW;
        END IF;
        IF v_copying = v_own THEN
            RETURN NEW;
        END IF;
        EXIT WHEN NOT v_patient OR v_role <> 'fenced' OR v_until IS NULL OR clock_timestamp() > v_until;
        PERFORM pg_sleep(0.002);
    END LOOP;
    IF v_role = 'fenced' AND v_until IS NOT NULL AND NOT v_patient THEN
        RAISE EXCEPTION 'rehome: tenant % is being switched to another store', v_key
            USING ERRCODE = 'serialization_failure', HINT = 'Repeat the transaction.';
    END IF;
    RAISE EXCEPTION 'rehome: tenant % is not written in this database (%)', v_key,
        CASE v_role WHEN 'replica' THEN 'this is a copy' WHEN 'absent' THEN 'it was moved away'
            ELSE coalesce('it was moved to store ' || v_gone_to, 'it is being moved, or was') END
        USING ERRCODE = 'RH001', HINT = 'Look up where the tenant is now, and write there.';
END
{body};

-- AFTER INSERT: the row is there, and has no number yet.
CREATE OR REPLACE FUNCTION {schema}.guard_note() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    IF current_setting('rehome_guard.copying', true) <> '' THEN
        IF current_setting('rehome_guard.copying') =
                concat_ws(' ', {class}, pg_current_xact_id_if_assigned(), {tenant_of_new})
            AND session_user = current_user
        THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO {schema}.arrivals (no, {key_names})
        SELECT l.no, {key_of_new} FROM {schema}.ledger AS l
        WHERE l.key = {tenant_of_new} AND l.copying IS DISTINCT FROM pg_current_xact_id_if_assigned();
    RETURN NULL;
END
{body};

-- BEFORE UPDATE OR DELETE: a row that is numbered stays as it is.
CREATE OR REPLACE FUNCTION {schema}.guard_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {body}
DECLARE
    v_key text;
BEGIN
    SELECT l.key INTO v_key FROM {schema}.ledger AS l
        WHERE (l.key = {tenant_of_old} OR (TG_OP = 'UPDATE' AND l.key = {tenant_of_new}))
            AND l.copying IS DISTINCT FROM pg_current_xact_id_if_assigned()
            -- What came in before a target was guarded is in no history, and can only be deleted (rule R12).
            AND (TG_OP = 'UPDATE' OR l.role <> 'absent')
        LIMIT 1;
    IF v_key IS NULL THEN
        PERFORM {schema}.see_the_guard();
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    RAISE EXCEPTION 'rehome: rows of tenant % are not changed or deleted while rehome guards it', v_key
        USING ERRCODE = 'RH002', HINT = 'A migration of the tenant is under way, or its old rows are kept '
            'for a return. Do it when that is over.';
END
{body};

-- BEFORE TRUNCATE.
CREATE OR REPLACE FUNCTION {schema}.guard_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {body}
BEGIN
    IF EXISTS (SELECT FROM {schema}.ledger) THEN
        RAISE EXCEPTION 'rehome: the table is not truncated while rehome guards tenants in it'
            USING ERRCODE = 'RH002', HINT = 'Do it when no migration is under way.';
    END IF;
    PERFORM {schema}.see_the_guard();
    RETURN NULL;
END
{body};
