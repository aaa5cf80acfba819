-- What a control plane has from format 2 on.

CREATE TABLE memos (
    migration BLOB    NOT NULL CHECK (length(migration) = 16),
    name      TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    text      TEXT    NOT NULL,
    PRIMARY KEY (migration, name)
) STRICT, WITHOUT ROWID;
