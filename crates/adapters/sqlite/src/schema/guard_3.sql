-- What a guard has from format 3 on: how far the logs of migrations from here and to here were seen, kept away from
-- the control plane that has the logs.

CREATE TABLE rehome_guard_log_anchors (
    migration BLOB    PRIMARY KEY,
    tenant    BLOB    NOT NULL,
    entry     INTEGER NOT NULL,
    hash      BLOB    NOT NULL
) WITHOUT ROWID;
