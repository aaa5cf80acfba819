-- What a control plane has from format 7 on: how far the log of the tenant's last migration was written.

ALTER TABLE {schema}.routes ADD COLUMN log_entry bigint CHECK (log_entry >= 1);
ALTER TABLE {schema}.routes ADD COLUMN log_hash bytea
    CHECK (log_hash IS NULL AND log_entry IS NULL OR length(log_hash) = 32 AND log_entry IS NOT NULL);
