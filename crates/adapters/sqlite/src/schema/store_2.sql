-- What a store has from format 2 on: how far the logs of migrations from here and to here were seen, kept away from
-- the control plane that has the logs.

CREATE TABLE log_anchors (
    migration BLOB    PRIMARY KEY CHECK (length(migration) = 16),
    tenant    BLOB    NOT NULL CHECK (length(tenant) = 16),
    entry     INTEGER NOT NULL CHECK (entry >= 1),
    hash      BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;
