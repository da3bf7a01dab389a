-- Makes rows small, so that a create costs half as much: ids become 16 bytes instead of 36
-- characters, an event keeps its runs in its own row, and unused indexes are dropped. Also drops
-- columns that were never read, or that can be computed from others (the marker).

DROP VIEW defect_records;

CREATE TABLE new_connections (
    id              BLOB PRIMARY KEY CHECK (length(id) = 16),
    name            TEXT NOT NULL UNIQUE,
    connector       TEXT NOT NULL,
    settings        TEXT NOT NULL,
    grants          TEXT NOT NULL,
    accepted_sha256 TEXT,
    project         TEXT,
    allow_private   INTEGER NOT NULL,
    http1_only      INTEGER NOT NULL,
    index_delay_s   INTEGER NOT NULL,
    index_lag_ms    INTEGER NOT NULL DEFAULT 0,
    paused          INTEGER NOT NULL,
    token_tail      TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    last_success_at INTEGER,
    last_error_at   INTEGER,
    last_error      TEXT,
    deleted         INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO new_connections SELECT unhex(id, '-'), name, connector, settings, grants, accepted_sha256,
    project, allow_private, http1_only, index_delay_s, index_lag_ms, paused, token_tail, created_at,
    last_success_at, last_error_at, last_error, deleted
FROM connections;

CREATE TABLE new_tokens (
    hash          BLOB PRIMARY KEY,
    connection_id BLOB NOT NULL REFERENCES new_connections ON DELETE CASCADE,
    expires_at    INTEGER,
    grace_ms      INTEGER
) STRICT;
INSERT INTO new_tokens SELECT hash, unhex(connection_id, '-'), expires_at, grace_ms
FROM tokens ORDER BY rowid;

CREATE TABLE new_secrets (
    connection_id BLOB NOT NULL REFERENCES new_connections ON DELETE CASCADE,
    name          TEXT NOT NULL,
    sealed        BLOB NOT NULL,
    PRIMARY KEY (connection_id, name)
) STRICT;
INSERT INTO new_secrets SELECT unhex(connection_id, '-'), name, sealed FROM secrets;

-- One row for each generation of a failed test's defect. A person released a row with released = 1:
-- the next claim of its failed test inserts the next generation.
CREATE TABLE new_defects (
    id                BLOB PRIMARY KEY CHECK (length(id) = 16),
    connection_id     BLOB NOT NULL REFERENCES new_connections ON DELETE CASCADE,
    test_execution_id BLOB NOT NULL,
    test_case_id      BLOB NOT NULL,
    variation_id      TEXT NOT NULL,
    generation        INTEGER NOT NULL,
    test_link         TEXT,
    state             TEXT NOT NULL
        CHECK (state IN ('intent', 'sent', 'created', 'failed', 'in-doubt')),
    released          INTEGER NOT NULL DEFAULT 0,
    fence             INTEGER NOT NULL,
    lease_until       INTEGER,
    -- The generation's writes: their number, the class of the worst one, whether one was answered
    -- 403.
    writes            INTEGER NOT NULL DEFAULT 0,
    class             TEXT CHECK (class IN ('refused', 'unclear', 'open', 'acknowledged')),
    forbidden         INTEGER NOT NULL DEFAULT 0,
    -- `marked`: whether the first write of each earlier run contained the marker. `run_writes` and
    -- `run_marked`: the writes of the last run, and the same about its first write.
    marked            INTEGER NOT NULL DEFAULT 1,
    run_writes        INTEGER NOT NULL DEFAULT 0,
    run_marked        INTEGER NOT NULL DEFAULT 1,
    -- The settings, the granted origins and the connector of the last run.
    run_settings      TEXT,
    run_origins       TEXT,
    run_sha256        TEXT,
    sent_at           INTEGER,
    write_ended_at    INTEGER,
    -- The start of the waits: the end of the last write, or later.
    wait_from         INTEGER,
    settled           INTEGER NOT NULL DEFAULT 0,
    searches          INTEGER NOT NULL DEFAULT 0,
    next_search_at    INTEGER,
    needs_person      TEXT,
    decided           TEXT CHECK (decided IN ('retry', 'give-up')),
    -- The fence and the outcome of the last run. They answer requests that waited for this run.
    ended_fence       INTEGER,
    ended_code        TEXT,
    defect            TEXT,
    reason            TEXT,
    event_id          BLOB,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    UNIQUE (connection_id, test_execution_id, test_case_id, variation_id, generation),
    CHECK ((state = 'created') <= (defect IS NOT NULL))
) STRICT;
INSERT INTO new_defects SELECT unhex(id, '-'), unhex(connection_id, '-'), unhex(test_execution_id, '-'),
    unhex(test_case_id, '-'), variation_id, generation, test_link, state, released, fence, lease_until,
    writes, class, forbidden, marked, run_writes, run_marked, run_settings, run_origins, run_sha256,
    sent_at, write_ended_at, wait_from, settled, searches, next_search_at, needs_person, decided,
    ended_fence, ended_code, defect, reason, unhex(event_id, '-'), created_at, updated_at
FROM defects ORDER BY id;

CREATE TABLE new_decisions (
    seq       INTEGER PRIMARY KEY,
    defect_id BLOB NOT NULL REFERENCES new_defects ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    who       TEXT NOT NULL,
    decision  TEXT NOT NULL
) STRICT;
INSERT INTO new_decisions SELECT seq, unhex(defect_id, '-'), at, who, decision FROM decisions;

-- `runs` is a JSON array. `bytes` is the size of the texts plus an estimate for the rest of the
-- row.
CREATE TABLE new_events (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),
    connection_id BLOB REFERENCES new_connections ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    received_at   INTEGER NOT NULL,
    ms            INTEGER NOT NULL,
    status        INTEGER,
    outcome       TEXT NOT NULL,
    defect_id     BLOB,
    bytes         INTEGER NOT NULL,
    detail        TEXT NOT NULL,
    request       TEXT NOT NULL,
    runs          TEXT
) STRICT;
INSERT INTO new_events SELECT unhex(id, '-'), unhex(connection_id, '-'), kind, received_at, ms, status,
    outcome, unhex(defect_id, '-'), 300 + length(CAST(request AS BLOB)) + length(CAST(detail AS BLOB))
        + COALESCE((SELECT SUM(1 + length(CAST(report AS BLOB))) FROM runs WHERE event_id = events.id), 0),
    detail, request,
    (SELECT '[' || group_concat(report) || ']'
     FROM (SELECT report FROM runs WHERE event_id = events.id ORDER BY seq))
FROM events ORDER BY id;

CREATE TABLE new_counts (
    connection_id BLOB NOT NULL REFERENCES new_connections ON DELETE CASCADE,
    project       TEXT NOT NULL,
    counts        TEXT NOT NULL,
    counted_at    INTEGER NOT NULL,
    PRIMARY KEY (connection_id, project)
) STRICT;
INSERT INTO new_counts SELECT unhex(connection_id, '-'), project, counts, counted_at
FROM counts ORDER BY rowid;

-- Drop tables that refer to other tables before those tables.
DROP TABLE runs;
DROP TABLE events;
DROP TABLE counts;
DROP TABLE decisions;
DROP TABLE defects;
DROP TABLE secrets;
DROP TABLE tokens;
DROP TABLE connections;
ALTER TABLE new_connections RENAME TO connections;
ALTER TABLE new_tokens RENAME TO tokens;
ALTER TABLE new_secrets RENAME TO secrets;
ALTER TABLE new_defects RENAME TO defects;
ALTER TABLE new_decisions RENAME TO decisions;
ALTER TABLE new_events RENAME TO events;
ALTER TABLE new_counts RENAME TO counts;

CREATE INDEX tokens_of_connection ON tokens (connection_id);
CREATE INDEX defects_unresolved ON defects (state, connection_id)
    WHERE state IN ('intent', 'sent', 'in-doubt');
CREATE INDEX defects_to_search ON defects (next_search_at) WHERE next_search_at IS NOT NULL;
CREATE INDEX decisions_of_defect ON decisions (defect_id);
CREATE INDEX events_of_connection ON events (connection_id, id);
CREATE INDEX events_without_connection ON events (id) WHERE kind = 'no-connection';
CREATE INDEX events_running ON events (id) WHERE outcome = 'running';

UPDATE history_size SET bytes = (SELECT COALESCE(SUM(bytes), 0) FROM events);
CREATE TRIGGER count_bytes_of_new_event AFTER INSERT ON events
BEGIN
    UPDATE history_size SET bytes = bytes + new.bytes;
END;
CREATE TRIGGER count_bytes_of_changed_event AFTER UPDATE OF bytes ON events
BEGIN
    UPDATE history_size SET bytes = bytes + new.bytes - old.bytes;
END;
CREATE TRIGGER count_bytes_of_deleted_event AFTER DELETE ON events
BEGIN
    UPDATE history_size SET bytes = bytes - old.bytes;
END;

-- A defect as people see it. (SQLite before 3.44 cannot read a view with ORDER BY in an aggregate.)
CREATE VIEW defect_records AS
SELECT d.*, (
    SELECT json_group_array(json_array(at, who, decision))
    FROM (SELECT * FROM decisions WHERE defect_id = d.id ORDER BY seq)
) AS decisions
FROM defects d
WHERE d.connection_id NOT IN (SELECT id FROM connections WHERE deleted = 1);
