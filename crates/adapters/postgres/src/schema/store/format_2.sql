-- What goes before the functions of appends are made again: those of format 1 were others.

DROP FUNCTION {schema}.append;
DROP FUNCTION {schema}.chain;
