-- Whose this schema is, and the format of each part in it.
CREATE TABLE {schema}.meta (
    kind          text    PRIMARY KEY CHECK (kind IN ('store', 'control_plane', 'guard')),
    format        integer NOT NULL,
    oldest_reader integer NOT NULL, -- the oldest rehome, by format, that may read the part
    oldest_writer integer NOT NULL, -- the oldest that may write it
    deployment    text    NOT NULL,
    identity      text    NOT NULL,
    created_at    bigint  NOT NULL, -- microseconds since 1970, UTC, as all times here
    -- Of the server's data directory, when the part was made or upgraded; from format 3 on. A copy that
    -- was made by logical means, a dump or a subscription, is on another one.
    system_identifier text
);
