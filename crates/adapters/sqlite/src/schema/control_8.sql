-- What a control plane has from format 8 on: removals of tenants. Under way: the epoch and the number of events to
-- remove; complete: the epoch alone. Beside the routes, whose rows older processes replace.

CREATE TABLE IF NOT EXISTS removals (
    tenant BLOB    PRIMARY KEY CHECK (length(tenant) = 16),
    epoch  INTEGER NOT NULL CHECK (epoch >= 1),
    events INTEGER CHECK (events >= 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS removals_running ON removals (tenant) WHERE events IS NOT NULL;
