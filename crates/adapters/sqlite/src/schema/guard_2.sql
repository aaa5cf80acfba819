-- Format 2: a tenant's guard can go.

-- Tenants whose guard is about to go, and those whose guard has gone while their numbers are being deleted.
CREATE TABLE rehome_guard_leaving (
    tenant_no  INTEGER PRIMARY KEY,
    tenant     BLOB NOT NULL,
    decided_by BLOB -- whose decision it is; NULL: it is carried out
);
