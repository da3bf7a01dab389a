-- Recurrences of failed tests, and the steps that follow the creation of a defect.

ALTER TABLE connections ADD COLUMN on_recurrence TEXT NOT NULL DEFAULT 'new'
    CHECK (on_recurrence IN ('new', 'comment', 'reopen'));

-- The row of the first failure, if the failed test is a recurrence.
ALTER TABLE defects ADD COLUMN recurrence_of BLOB;
-- Whether the row may create another defect, because the defect of the earlier failure is closed or
-- gone.
ALTER TABLE defects ADD COLUMN creates_anew INTEGER NOT NULL DEFAULT 0;
-- Finds the failures of one test case.
CREATE INDEX defects_of_case ON defects (connection_id, test_case_id, variation_id);

-- One row for each step. It is changed only under the lease of the defect.
CREATE TABLE follow_ups (
    defect_id  BLOB NOT NULL REFERENCES defects ON DELETE CASCADE,
    step       TEXT NOT NULL CHECK (step IN ('reopen', 'comment', 'list-attachments', 'attach')),
    -- The name of the attachment; empty for the other steps.
    name       TEXT NOT NULL DEFAULT '',
    state      TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'done', 'given-up')),
    tries      INTEGER NOT NULL DEFAULT 0,
    -- How often it was claimed, also if no run could start: the pauses grow with it.
    claims     INTEGER NOT NULL DEFAULT 0,
    next_at    INTEGER,
    -- The step's writes: their number, the class of the worst one, whether one was answered 403,
    -- whether each contained the marker.
    writes     INTEGER NOT NULL DEFAULT 0,
    class      TEXT CHECK (class IN ('refused', 'unclear', 'open', 'acknowledged')),
    forbidden  INTEGER NOT NULL DEFAULT 0,
    marked     INTEGER NOT NULL DEFAULT 1,
    sent_at    INTEGER,
    -- The start of the waits: the end of the last write, or later.
    wait_from  INTEGER,
    reason     TEXT,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (defect_id, step, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX follow_ups_due ON follow_ups (next_at) WHERE next_at IS NOT NULL;

DROP VIEW defect_records;
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
