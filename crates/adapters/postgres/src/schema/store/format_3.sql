-- What goes before the functions of a store of format 2 are made again: they say where each name in them is,
-- or have a search path of their own, and one is not there any more.

DROP FUNCTION {schema}.chain;
