-- The tables as they are now, for a new database; one that is older gets here by its migrations.
-- Times are seconds since the epoch, addresses are `Address.key`.
-- A change here needs a migration beside it (migrations/versions/) and its number in `migrate.HEAD`: a test compares.

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE secrets (
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    CONSTRAINT pk_secrets PRIMARY KEY (name)
);

CREATE TABLE host_keys (
    algorithm TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    CONSTRAINT pk_host_keys PRIMARY KEY (algorithm)
);

-- `host` is the label that a session of it has sent last (SELF_REMOTE_HOST).
CREATE TABLE identities (
    id TEXT NOT NULL,
    name TEXT,
    created DOUBLE NOT NULL,
    host TEXT,
    CONSTRAINT pk_identities PRIMARY KEY (id),
    CONSTRAINT uq_identities_name UNIQUE (name)
);

-- A key that the operator has entered and that has not logged in yet has no times.
-- `fingerprint` is that of a key; of a certificate it is that of its CA, a blank, and the key id.
-- A key that is `entered` keeps the name of its identity without a line that says it.
CREATE TABLE keys (
    fingerprint TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    identity TEXT NOT NULL,
    first_seen DOUBLE,
    last_seen DOUBLE,
    entered BOOLEAN NOT NULL,
    CONSTRAINT pk_keys PRIMARY KEY (fingerprint),
    CONSTRAINT fk_keys_identity FOREIGN KEY(identity) REFERENCES identities (id)
);
CREATE INDEX ix_keys_identity ON keys (identity);

-- Owners are not always rows of `identities` (an anonymous one holds leases), so there is no foreign key on them.
-- One with a `label` is an allocation of the port table, and is kept for good.
CREATE TABLE reservations (
    address TEXT NOT NULL,
    owner TEXT NOT NULL,
    owner_name TEXT NOT NULL,
    derived BOOLEAN NOT NULL,
    created DOUBLE NOT NULL,
    last_used DOUBLE NOT NULL,
    used BOOLEAN NOT NULL,
    label TEXT,
    CONSTRAINT pk_reservations PRIMARY KEY (address)
);
CREATE INDEX ix_reservations_owner ON reservations (owner);

-- One row per new reservation, so that freeing a name does not give back the day's allowance of its network.
CREATE TABLE reservations_made (
    id INTEGER NOT NULL,
    network TEXT NOT NULL,
    at DOUBLE NOT NULL,
    CONSTRAINT pk_reservations_made PRIMARY KEY (id)
);
CREATE INDEX ix_reservations_made_network ON reservations_made (network, at);

CREATE TABLE leases (
    address TEXT NOT NULL,
    owner TEXT NOT NULL,
    owner_name TEXT NOT NULL,
    worker TEXT NOT NULL,
    generation BIGINT NOT NULL,
    claimed DOUBLE NOT NULL,
    CONSTRAINT pk_leases PRIMARY KEY (address)
);
CREATE INDEX ix_leases_owner ON leases (owner);
CREATE INDEX ix_leases_worker ON leases (worker);

CREATE TABLE workers (
    id TEXT NOT NULL,
    heartbeat DOUBLE NOT NULL,
    CONSTRAINT pk_workers PRIMARY KEY (id)
);

CREATE TABLE counters (
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    CONSTRAINT pk_counters PRIMARY KEY (name)
);
INSERT INTO counters (name, value) VALUES ('generation', 0);

-- One row per SSH connection; `peer` is the address that it came from.
CREATE TABLE connections (
    id TEXT NOT NULL,
    identity TEXT NOT NULL,
    fingerprint TEXT,
    peer TEXT NOT NULL,
    client_version TEXT NOT NULL,
    started DOUBLE NOT NULL,
    ended DOUBLE,
    reason TEXT,
    up BIGINT NOT NULL,
    down BIGINT NOT NULL,
    CONSTRAINT pk_connections PRIMARY KEY (id)
);
CREATE INDEX ix_connections_started ON connections (started);
CREATE INDEX ix_connections_identity ON connections (identity);

-- The audit log: `ferry.protocol.audit` says what a record and its hash are. `upto` is set in records of what was dropped.
CREATE TABLE audit (
    seq INTEGER NOT NULL,
    time TEXT NOT NULL,
    kind TEXT NOT NULL,
    outcome TEXT NOT NULL,
    identity TEXT NOT NULL,
    "key" TEXT NOT NULL,
    peer TEXT NOT NULL,
    connection TEXT NOT NULL,
    what TEXT NOT NULL,
    rule TEXT NOT NULL,
    detail TEXT NOT NULL,
    up BIGINT,
    down BIGINT,
    milliseconds BIGINT,
    events BIGINT,
    upto BIGINT,
    hash TEXT NOT NULL,
    CONSTRAINT pk_audit PRIMARY KEY (seq)
);
CREATE INDEX ix_audit_pruned ON audit (upto) WHERE kind = 'prune';
CREATE INDEX ix_audit_thinned ON audit (upto) WHERE kind = 'thin';
-- Records are only added, at the end. Without the third trigger, INSERT OR REPLACE would delete without the second one.
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'records of the audit log are never changed'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
    WHEN old.seq > (SELECT coalesce(max(upto), 0) FROM audit WHERE kind = 'prune')
    AND NOT EXISTS (SELECT 1 FROM audit WHERE kind = 'thin' AND upto >= old.seq AND upto - events < old.seq)
    BEGIN SELECT RAISE(ABORT, 'a record of the audit log is dropped only after a record says so'); END;
CREATE TRIGGER audit_is_only_added_to BEFORE INSERT ON audit
    WHEN new.seq <= (SELECT coalesce(max(seq), 0) FROM audit)
    BEGIN SELECT RAISE(ABORT, 'records of the audit log are added at its end'); END;
