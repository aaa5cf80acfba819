-- What a store that is made in format 3 has in place of the index `events_by_id`. A rehome of an older format would not
-- keep it up to date, so it may read such a file and not write it. A file that was made in an older format keeps
-- its index, and any rehome writes it.

DROP INDEX events_by_id;

CREATE TABLE event_ids (
    tenant_no INTEGER NOT NULL,
    event_id  BLOB    NOT NULL CHECK (length(event_id) = 16),
    position  INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, event_id)
) STRICT, WITHOUT ROWID;

-- Tenants of whose events after `after_seq` the ids are not yet in `event_ids`.
CREATE TABLE ids_put_off (
    tenant_no INTEGER PRIMARY KEY,
    after_seq INTEGER NOT NULL CHECK (after_seq >= 0)
) STRICT;
