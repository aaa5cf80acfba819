-- The guard: a ledger beside a table that is not ours. Names of that table are filled in by crate::adopted.

-- What was installed, one row.
CREATE TABLE {schema}.installed (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    layout        text    NOT NULL, -- as it was configured
    row_columns   text[]  NOT NULL, -- what a row's digest covers, in its order
    row_types     text[]  NOT NULL,
    key_columns   text[]  NOT NULL, -- what names a row here
    position      text,             -- the column that this database numbers rows by
    fingerprint   text    NOT NULL DEFAULT '' -- of triggers, columns and partitions
);

-- Whom the triggers look after.
CREATE TABLE {schema}.tenants (
    no      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant  uuid    NOT NULL UNIQUE,
    key     text    COLLATE "C" NOT NULL UNIQUE, -- as the table has it
    -- Before the history is numbered, every transaction that wrote when the guard came must have ended (rule R1).
    phase   text    NOT NULL CHECK (phase IN ('announced', 'draining', 'drained', 'noted')),
    drain   text[]  NOT NULL DEFAULT '{}', -- the virtual transactions that are waited for
    leaving text[], -- the same before the guard goes (rule R11)
    leaving_by uuid -- who decided that it goes; NULL: it stays
);

-- Role and epoch; writers look here, and nowhere else. The head is elsewhere: numbering would send them back (rule R9).
CREATE TABLE {schema}.ledger (
    no          integer PRIMARY KEY REFERENCES {schema}.tenants,
    key         text    COLLATE "C" NOT NULL UNIQUE, -- as the table has it
    role        text    NOT NULL CHECK (role IN ('active', 'replica', 'fenced', 'absent')),
    epoch       bigint  NOT NULL,
    waits_until timestamptz, -- until then writers wait that find it fenced
    gone_to     text,        -- where the tenant is now, for the message
    floor       bigint,      -- the highest position that a copy wrote (rule R4)
    copying     xid8         -- the transaction that may write here although it is no writer
);

-- The head. The process that numbers holds this row.
CREATE TABLE {schema}.heads (
    no         integer PRIMARY KEY REFERENCES {schema}.tenants,
    seq        bigint  NOT NULL,
    digest     bytea   NOT NULL CHECK (octet_length(digest) = 32),
    history_at bigint  NOT NULL DEFAULT 0, -- arrivals of the history are numbered up to this id
    row_order  integer[] -- which of row_columns is in each place of a digested row; NULL: as they are
);

-- Rows that have no number yet. The history has ids below 0.
CREATE SEQUENCE {schema}.arrival CACHE 1;
CREATE TABLE {schema}.arrivals (
    no integer NOT NULL,
    id bigint  NOT NULL DEFAULT nextval('{schema_in_text}.arrival'),
    {key_definitions},
    PRIMARY KEY (no, id)
);

-- Numbers: the chain over the rows, and where each is.
CREATE TABLE {schema}.positions (
    no     integer NOT NULL,
    seq    bigint  NOT NULL,
    {key_definitions},
    digest bytea   NOT NULL,
    PRIMARY KEY (no, seq),
    UNIQUE ({key_names})
);

-- The transaction of the last guarding. A sequence, because no snapshot hides it (rule R2).
CREATE SEQUENCE {schema}.guarding CACHE 1;

-- A bit for each guarded tenant, by a hash of its name: a row whose bit is not set sets off no trigger. Too many
-- bits cost time, and one too few a row. Writers read it in the triggers' conditions, as themselves.
CREATE SEQUENCE {schema}.marks MINVALUE -9223372036854775808 START 0 CACHE 1;
GRANT SELECT ON SEQUENCE {schema}.marks TO PUBLIC;
SELECT setval('{schema_in_text}.marks', 0);
