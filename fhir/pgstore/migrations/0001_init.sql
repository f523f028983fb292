-- Strings are bytea: they are compared byte by byte and may hold anything.
-- Times are milliseconds since 1970.

-- The newest version of each resource, which may be a deletion.
CREATE TABLE resource (
    type    bytea   NOT NULL,
    id      bytea   NOT NULL,
    version bigint  NOT NULL,
    time    bigint  NOT NULL,
    deleted boolean NOT NULL,
    terms   bytea   NOT NULL, -- as store.Terms packs them
    body    bytea   NOT NULL,
    PRIMARY KEY (type, id)
);

-- Older versions.
CREATE TABLE history (
    type    bytea   NOT NULL,
    id      bytea   NOT NULL,
    version bigint  NOT NULL,
    time    bigint  NOT NULL,
    deleted boolean NOT NULL,
    terms   bytea   NOT NULL,
    body    bytea   NOT NULL,
    PRIMARY KEY (type, id, version)
);

-- What searches judge: a row for each owner of a live resource, and one under the
-- owner '\x00' for a resource that has none. All rows of a resource are alike but
-- for "first", which marks one of them. Each of the terms is name, NUL, value, NUL;
-- they are sorted.
CREATE TABLE live (
    owner bytea   NOT NULL,
    type  bytea   NOT NULL,
    id    bytea   NOT NULL,
    first boolean NOT NULL,
    terms bytea[] NOT NULL,
    PRIMARY KEY (owner, type, id)
);
CREATE INDEX live_by_id ON live (type, id) WHERE first;

-- The terms of live resources, but for owners, in the order in which searches that
-- are not limited to owners walk them. Of a long value only the head stands under
-- value; then rest is a hash of all of it, and otherwise empty.
CREATE TABLE term (
    type  bytea NOT NULL,
    name  bytea NOT NULL,
    value bytea NOT NULL,
    id    bytea NOT NULL,
    rest  bytea NOT NULL,
    PRIMARY KEY (type, name, value, id, rest)
);
CREATE INDEX term_long ON term (type, name) WHERE rest <> '';

-- The commit log. (era, xid, seq) is the order of commits; see order.go.
CREATE TABLE log (
    era     integer NOT NULL,
    xid     bigint  NOT NULL,
    seq     integer NOT NULL,
    type    bytea   NOT NULL,
    id      bytea   NOT NULL,
    version bigint  NOT NULL,
    time    bigint  NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (era, xid, seq)
);
CREATE INDEX log_by_type ON log (type, era, xid, seq);

-- The same entries again, under each owner that a version had.
CREATE TABLE log_of_owner (
    owner   bytea   NOT NULL,
    era     integer NOT NULL,
    xid     bigint  NOT NULL,
    seq     integer NOT NULL,
    type    bytea   NOT NULL,
    id      bytea   NOT NULL,
    version bigint  NOT NULL,
    time    bigint  NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (owner, era, xid, seq)
);

-- Eras of the log: the newest one is written.
CREATE TABLE log_era (
    era integer PRIMARY KEY
);
INSERT INTO log_era (era) VALUES (1);

-- Records.
CREATE TABLE record (
    kind    bytea NOT NULL,
    key     bytea NOT NULL,
    value   bytea NOT NULL,
    expires bigint,
    PRIMARY KEY (kind, key)
);
CREATE INDEX record_by_expiry ON record (expires) WHERE expires IS NOT NULL;
