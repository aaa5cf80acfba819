-- Format 2: writers look in the ledger alone, by the tenant's name, and a tenant's guard can go.
ALTER TABLE {schema}.tenants DROP COLUMN guarded, ADD COLUMN leaving text[], ADD COLUMN leaving_by uuid;
ALTER TABLE {schema}.ledger ADD COLUMN key text COLLATE "C" UNIQUE;
UPDATE {schema}.ledger AS l SET key = t.key FROM {schema}.tenants AS t WHERE t.no = l.no;
ALTER TABLE {schema}.ledger ALTER COLUMN key SET NOT NULL;
CREATE SEQUENCE {schema}.marks MINVALUE -9223372036854775808 START 0 CACHE 1;
GRANT SELECT ON SEQUENCE {schema}.marks TO PUBLIC;
