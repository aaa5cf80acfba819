-- What goes before the functions of a store of format 2 are made again: all of them got a search path of
-- their own, and one is not there any more.

DROP FUNCTION {schema}.chain;
