-- The functions of a control plane, since format 1. No rule is in them: they compare and write.

-- Writes a fact with the rows that follow from it, if the rows that it was decided on are still
-- those that are there. False: they are not, and nothing was written.
--
-- One call is one transaction, so that no process that stops can hold the row lock. The lock comes
-- first and the rest is read in later statements, which see what was committed while it was waited
-- for. Every record of a tenant takes this lock, so nothing changes between here and the commit.
CREATE OR REPLACE FUNCTION {schema}.record(
    -- What the fact was decided on.
    of_tenant uuid, was_rev bigint, was_created boolean, of_migration uuid, was_entry bigint,
    -- The route after it; its row is written only if the fact moves it.
    moves boolean, to_rev bigint, to_store text, to_epoch bigint, to_prev_epoch bigint, to_n bigint,
    to_m bigint, to_base bigint, to_migration uuid, to_phase text, to_deadline_ms bigint,
    to_created boolean, to_rollback_window boolean,
    -- The migration after it.
    its_source text, its_target text, its_m bigint, its_phase text, its_state text,
    its_options text, its_cutover_attempts bigint, its_created_at bigint, its_started_at bigint,
    its_completed_at bigint, its_error text,
    -- The entry of the log.
    entry_at bigint, entry_actor text, entry_fact text, entry_hash bytea,
    -- The channel on which listeners are notified that the route moved.
    channel text
) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS {body}
DECLARE
    last_entry bigint;
BEGIN
    PERFORM FROM {schema}.routes AS r
        WHERE r.tenant = of_tenant AND r.rev = was_rev AND r.created = was_created
        FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT max(l.entry) INTO last_entry FROM {schema}.log AS l WHERE l.migration = of_migration;
    IF coalesce(last_entry, 0) <> was_entry THEN
        RETURN false;
    END IF;

    -- First of the writes: of two tenants that begin a migration of one id, one finds it there.
    IF was_entry = 0 THEN
        INSERT INTO {schema}.migrations (
            id, tenant, source, target, m, phase, state, options, cutover_attempts, created_at,
            started_at, completed_at, error
        ) VALUES (
            of_migration, of_tenant, its_source, its_target, its_m, its_phase, its_state,
            its_options, its_cutover_attempts, its_created_at, its_started_at, its_completed_at,
            its_error
        ) ON CONFLICT DO NOTHING;
    ELSE
        UPDATE {schema}.migrations AS g SET
            m = its_m, phase = its_phase, state = its_state, options = its_options,
            cutover_attempts = its_cutover_attempts, started_at = its_started_at,
            completed_at = its_completed_at, error = its_error
        WHERE g.id = of_migration AND g.tenant = of_tenant;
    END IF;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO {schema}.log (migration, entry, at, actor, fact, hash)
        VALUES (of_migration, was_entry + 1, entry_at, entry_actor, entry_fact, entry_hash);
    IF moves THEN
        UPDATE {schema}.routes AS r SET
            rev = to_rev, store = to_store, epoch = to_epoch, prev_epoch = to_prev_epoch, n = to_n,
            m = to_m, base = to_base, migration = to_migration, phase = to_phase,
            deadline_ms = to_deadline_ms, created = to_created,
            rollback_window = to_rollback_window,
            -- Of the facts that move a route only a recovery can follow in a removal, and it ends it.
            removal_epoch = NULL, removal_events = NULL
        WHERE r.tenant = of_tenant;
        PERFORM pg_notify(channel, of_tenant::text || ' ' || to_rev::text);
    END IF;
    -- How far the log of the tenant's last migration was written, since format 7.
    UPDATE {schema}.routes AS r SET log_entry = was_entry + 1, log_hash = entry_hash
        WHERE r.tenant = of_tenant AND r.migration = of_migration;
    RETURN true;
END
{body};

-- Now, in microseconds since 1970, by this server's clock.
CREATE OR REPLACE FUNCTION {schema}.now_us() RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS {body} SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint {body};
