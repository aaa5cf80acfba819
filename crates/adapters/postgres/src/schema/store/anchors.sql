-- What a store has from format 6 on: how far the logs of migrations from here and to here were seen, kept away from
-- the control plane that has the logs.

CREATE TABLE {schema}.log_anchors (
    migration uuid   PRIMARY KEY,
    tenant    uuid   NOT NULL,
    entry     bigint NOT NULL CHECK (entry >= 1),
    hash      bytea  NOT NULL CHECK (length(hash) = 32)
);
