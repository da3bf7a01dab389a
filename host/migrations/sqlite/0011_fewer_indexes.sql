-- Makes a create cheaper. SQLite makes a temporary table for each list of three or more words after
-- IN, so the conditions of `defects` are comparisons now. One index finds the rows of a failed test
-- and those of its test case.

DROP VIEW defect_records;

CREATE TABLE new_defects (
    id                BLOB PRIMARY KEY CHECK (length(id) = 16),
    connection_id     BLOB NOT NULL REFERENCES connections ON DELETE CASCADE,
    test_execution_id BLOB NOT NULL,
    test_case_id      BLOB NOT NULL,
    variation_id      TEXT NOT NULL,
    generation        INTEGER NOT NULL,
    test_link         TEXT,
    state             TEXT NOT NULL CHECK (state = 'intent' OR state = 'created' OR state = 'sent'
                          OR state = 'failed' OR state = 'in-doubt'),
    released          INTEGER NOT NULL DEFAULT 0,
    fence             INTEGER NOT NULL,
    lease_until       INTEGER,
    -- The generation's writes: their number, the class of the worst one, whether one was answered
    -- 403.
    writes            INTEGER NOT NULL DEFAULT 0,
    class             TEXT CHECK (class IS NULL OR class = 'refused' OR class = 'unclear'
                          OR class = 'open' OR class = 'acknowledged'),
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
    decided           TEXT CHECK (decided IS NULL OR decided = 'retry' OR decided = 'give-up'),
    -- The fence and the outcome of the last run. They answer requests that waited for this run.
    ended_fence       INTEGER,
    ended_code        TEXT,
    defect            TEXT,
    reason            TEXT,
    event_id          BLOB,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    -- The row of the first failure, if the failed test is a recurrence.
    recurrence_of     BLOB,
    -- Whether the row may create another defect, because the defect of the earlier failure is
    -- closed or gone.
    creates_anew      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (connection_id, test_case_id, variation_id, test_execution_id, generation),
    CHECK ((state = 'created') <= (defect IS NOT NULL))
) STRICT;
INSERT INTO new_defects (id, connection_id, test_execution_id, test_case_id, variation_id,
    generation, test_link, state, released, fence, lease_until, writes, class, forbidden, marked,
    run_writes, run_marked, run_settings, run_origins, run_sha256, sent_at, write_ended_at,
    wait_from, settled, searches, next_search_at, needs_person, decided, ended_fence, ended_code,
    defect, reason, event_id, created_at, updated_at, recurrence_of, creates_anew)
SELECT id, connection_id, test_execution_id, test_case_id, variation_id,
    generation, test_link, state, released, fence, lease_until, writes, class, forbidden, marked,
    run_writes, run_marked, run_settings, run_origins, run_sha256, sent_at, write_ended_at,
    wait_from, settled, searches, next_search_at, needs_person, decided, ended_fence, ended_code,
    defect, reason, event_id, created_at, updated_at, recurrence_of, creates_anew
FROM defects ORDER BY id;

CREATE TABLE new_decisions (
    seq       INTEGER PRIMARY KEY,
    defect_id BLOB NOT NULL REFERENCES new_defects ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    who       TEXT NOT NULL,
    decision  TEXT NOT NULL
) STRICT;
INSERT INTO new_decisions SELECT seq, defect_id, at, who, decision FROM decisions;

-- One row for each step. It is changed only under the lease of the defect.
CREATE TABLE new_follow_ups (
    defect_id  BLOB NOT NULL REFERENCES new_defects ON DELETE CASCADE,
    step       TEXT NOT NULL CHECK (step = 'reopen' OR step = 'comment'
                   OR step = 'list-attachments' OR step = 'attach'),
    -- The name of the attachment; empty for the other steps.
    name       TEXT NOT NULL DEFAULT '',
    state      TEXT NOT NULL DEFAULT 'due'
                   CHECK (state = 'due' OR state = 'sent' OR state = 'done' OR state = 'given-up'),
    tries      INTEGER NOT NULL DEFAULT 0,
    -- How often it was claimed, also if no run could start: the pauses grow with it.
    claims     INTEGER NOT NULL DEFAULT 0,
    next_at    INTEGER,
    -- The step's writes: their number, the class of the worst one, whether one was answered 403,
    -- whether each contained the marker.
    writes     INTEGER NOT NULL DEFAULT 0,
    class      TEXT CHECK (class IS NULL OR class = 'refused' OR class = 'unclear'
                   OR class = 'open' OR class = 'acknowledged'),
    forbidden  INTEGER NOT NULL DEFAULT 0,
    marked     INTEGER NOT NULL DEFAULT 1,
    sent_at    INTEGER,
    -- The start of the waits: the end of the last write, or later.
    wait_from  INTEGER,
    reason     TEXT,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (defect_id, step, name)
) STRICT, WITHOUT ROWID;
INSERT INTO new_follow_ups (defect_id, step, name, state, tries, claims, next_at, writes, class,
    forbidden, marked, sent_at, wait_from, reason, updated_at)
SELECT defect_id, step, name, state, tries, claims, next_at, writes, class,
    forbidden, marked, sent_at, wait_from, reason, updated_at
FROM follow_ups;

-- Drop tables that refer to `defects` before it.
DROP TABLE follow_ups;
DROP TABLE decisions;
DROP TABLE defects;
ALTER TABLE new_defects RENAME TO defects;
ALTER TABLE new_decisions RENAME TO decisions;
ALTER TABLE new_follow_ups RENAME TO follow_ups;

-- A statement uses it only if it contains the index's condition, word for word.
CREATE INDEX defects_not_created ON defects (state, connection_id) WHERE state <> 'created';
CREATE INDEX defects_to_search ON defects (next_search_at) WHERE next_search_at IS NOT NULL;
CREATE INDEX decisions_of_defect ON decisions (defect_id);
CREATE INDEX follow_ups_due ON follow_ups (next_at) WHERE next_at IS NOT NULL;

-- A defect as people see it. (SQLite before 3.44 cannot read a view with ORDER BY in an aggregate.)
CREATE VIEW defect_records AS
SELECT d.*, (
    SELECT json_group_array(json_array(at, who, decision))
    FROM (SELECT * FROM decisions WHERE defect_id = d.id ORDER BY seq)
) AS decisions, (
    SELECT json_group_array(json_array(step, name, state, tries, writes, class, reason, next_at))
    FROM follow_ups WHERE defect_id = d.id
) AS follow_ups
FROM defects d
WHERE d.connection_id NOT IN (SELECT id FROM connections WHERE deleted = 1);
