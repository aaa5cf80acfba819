-- What a control plane has from format 6 on: how far the log of the tenant's last migration was written. A rehome of
-- format 5 writes the row anew, and leaves these out: then nothing is claimed.

ALTER TABLE routes ADD COLUMN log_entry INTEGER CHECK (log_entry >= 1);
ALTER TABLE routes ADD COLUMN log_hash BLOB
    CHECK (log_hash IS NULL AND log_entry IS NULL OR length(log_hash) = 32 AND log_entry IS NOT NULL);
