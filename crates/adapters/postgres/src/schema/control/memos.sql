-- What a control plane has from format 2 on.

CREATE TABLE {schema}.memos (
    migration uuid   NOT NULL,
    name      text   NOT NULL,
    at        bigint NOT NULL,
    text      text   NOT NULL,
    PRIMARY KEY (migration, name)
);
