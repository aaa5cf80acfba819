-- What a guard has from format 5 on: for a tenant that came from a table of another layout, which of the copied columns is in
-- each place of a digested row, as numbers from 1 with commas. NULL: they are as they are.

ALTER TABLE rehome_guard_tenants ADD COLUMN row_order TEXT;
