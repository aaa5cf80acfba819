-- What a control plane has from format 9 on: removals of tenants. Under way: the epoch and the number of events to
-- remove; complete: the epoch alone.

ALTER TABLE {schema}.routes ADD COLUMN IF NOT EXISTS removal_epoch bigint CHECK (removal_epoch BETWEEN 1 AND n);
ALTER TABLE {schema}.routes ADD COLUMN IF NOT EXISTS removal_events bigint
    CHECK (removal_events IS NULL OR removal_events >= 0 AND removal_epoch IS NOT NULL);
CREATE INDEX IF NOT EXISTS routes_removing ON {schema}.routes (tenant) WHERE removal_events IS NOT NULL;
