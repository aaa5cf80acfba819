-- What a guard has from format 4 on: the kind of each column that is in a row's digest, in the order of `columns`, a
-- line each. The texts of a row are then those that PostgreSQL would write. NULL in a guard of an older format: they are
-- those of SQLite.

ALTER TABLE rehome_guard_installed ADD COLUMN kinds TEXT;
