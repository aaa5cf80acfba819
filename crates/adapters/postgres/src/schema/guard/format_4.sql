-- Format 4: a tenant that came from a table of another layout keeps the order in which its rows are digested. A rehome that
-- does not know of it would write values into the wrong columns: it does not find these functions any more.
ALTER TABLE {schema}.heads ADD COLUMN row_order integer[];
DROP FUNCTION IF EXISTS {schema}.feed(uuid, bigint, bigint, bigint);
DROP FUNCTION IF EXISTS {schema}.stream(uuid, text, text[], bigint, bigint, bigint);
DROP FUNCTION IF EXISTS {schema}.begin_extend(uuid, integer, bigint, bigint, bytea, integer);
