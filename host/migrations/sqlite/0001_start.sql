-- Times are milliseconds since 1970, ids are UUIDs in lower-case text, JSON is text.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE connections (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    connector       TEXT NOT NULL,
    settings        TEXT NOT NULL,
    grants          TEXT NOT NULL,
    accepted_sha256 TEXT,
    project         TEXT,
    allow_private   INTEGER NOT NULL,
    paused          INTEGER NOT NULL,
    token_tail      TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    last_success_at INTEGER,
    last_error_at   INTEGER,
    last_error      TEXT
) STRICT;

CREATE TABLE tokens (
    hash          BLOB PRIMARY KEY,
    connection_id TEXT NOT NULL REFERENCES connections ON DELETE CASCADE,
    expires_at    INTEGER
) STRICT;
CREATE INDEX tokens_of_connection ON tokens (connection_id);

CREATE TABLE secrets (
    connection_id TEXT NOT NULL REFERENCES connections ON DELETE CASCADE,
    name          TEXT NOT NULL,
    sealed        BLOB NOT NULL,
    PRIMARY KEY (connection_id, name)
) STRICT;

-- One row for each generation of a failed test's defect. A person released a row with closed = 1:
-- the next claim of its failed test inserts the next generation.
CREATE TABLE defects (
    id                TEXT PRIMARY KEY,
    connection_id     TEXT NOT NULL REFERENCES connections ON DELETE CASCADE,
    test_execution_id TEXT NOT NULL,
    test_case_id      TEXT NOT NULL,
    variation_id      TEXT NOT NULL,
    generation        INTEGER NOT NULL,
    test_link         TEXT,
    marker            TEXT NOT NULL,
    state             TEXT NOT NULL
        CHECK (state IN ('intent', 'sent', 'created', 'failed', 'in-doubt')),
    closed            INTEGER NOT NULL DEFAULT 0,
    fence             INTEGER NOT NULL,
    lease_until       INTEGER,
    runner            TEXT,
    retry             INTEGER NOT NULL DEFAULT 0,
    writes            INTEGER NOT NULL DEFAULT 0,
    sent_at           INTEGER,
    write_ended_at    INTEGER,
    looks             INTEGER NOT NULL DEFAULT 0,
    next_look_at      INTEGER,
    defect            TEXT,
    reason            TEXT,
    event_id          TEXT,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    UNIQUE (connection_id, test_execution_id, test_case_id, variation_id, generation),
    CHECK ((state = 'created') <= (defect IS NOT NULL))
) STRICT;
CREATE INDEX defects_unsettled ON defects (state, next_look_at)
    WHERE state IN ('intent', 'sent', 'in-doubt');

CREATE TABLE decisions (
    seq       INTEGER PRIMARY KEY,
    defect_id TEXT NOT NULL REFERENCES defects ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    who       TEXT NOT NULL,
    what      TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_of_defect ON decisions (defect_id);

-- A defect as the API and the CLI show it.
CREATE VIEW defect_records AS
SELECT d.*, (
    SELECT json_group_array(json_array(p.at, p.who, p.what) ORDER BY p.seq)
    FROM decisions p WHERE p.defect_id = d.id
) AS decisions
FROM defects d;

CREATE TABLE events (
    id            TEXT PRIMARY KEY,
    connection_id TEXT REFERENCES connections ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    received_at   INTEGER NOT NULL,
    ms            INTEGER NOT NULL,
    status        INTEGER,
    outcome       TEXT NOT NULL,
    detail        TEXT NOT NULL,
    request       TEXT NOT NULL,
    defect_id     TEXT
) STRICT;
CREATE INDEX events_of_connection ON events (connection_id, id);
CREATE INDEX events_of_kind ON events (kind, id);
CREATE INDEX events_by_time ON events (received_at);
CREATE INDEX events_running ON events (id) WHERE outcome = 'running';

-- A run may be stored before its event, so a foreign key is not possible. The trigger below deletes
-- the runs of a deleted event.
CREATE TABLE runs (
    event_id TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    report   TEXT NOT NULL,
    PRIMARY KEY (event_id, seq)
) STRICT;
CREATE TRIGGER runs_go_with_their_event AFTER DELETE ON events
BEGIN
    DELETE FROM runs WHERE event_id = old.id;
END;

CREATE TABLE counts (
    connection_id TEXT NOT NULL REFERENCES connections ON DELETE CASCADE,
    project       TEXT NOT NULL,
    counts        TEXT NOT NULL,
    counted_at    INTEGER NOT NULL,
    PRIMARY KEY (connection_id, project)
) STRICT;
