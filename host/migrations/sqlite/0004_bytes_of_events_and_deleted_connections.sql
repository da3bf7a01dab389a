-- Counts the bytes of the history, so that it can be limited. Marks connections that are being
-- deleted: they are hidden at once, and their rows are deleted in steps.

ALTER TABLE connections ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;

-- One row. 500 and 100 are the estimated size of an event and of a run without their texts, with
-- their indexes.
CREATE TABLE history_size (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO history_size (one, bytes) SELECT 1,
    COALESCE((SELECT SUM(500 + length(CAST(request AS BLOB)) + length(CAST(detail AS BLOB)))
        FROM events), 0)
    + COALESCE((SELECT SUM(100 + length(CAST(report AS BLOB))) FROM runs), 0);

CREATE TRIGGER count_bytes_of_new_event AFTER INSERT ON events
BEGIN
    UPDATE history_size SET bytes = bytes + 500
        + length(CAST(new.request AS BLOB)) + length(CAST(new.detail AS BLOB));
END;
CREATE TRIGGER count_bytes_of_changed_event AFTER UPDATE OF request, detail ON events
BEGIN
    UPDATE history_size SET bytes = bytes
        + length(CAST(new.request AS BLOB)) + length(CAST(new.detail AS BLOB))
        - length(CAST(old.request AS BLOB)) - length(CAST(old.detail AS BLOB));
END;
CREATE TRIGGER count_bytes_of_deleted_event AFTER DELETE ON events
BEGIN
    UPDATE history_size SET bytes = bytes - 500
        - length(CAST(old.request AS BLOB)) - length(CAST(old.detail AS BLOB));
END;
CREATE TRIGGER count_bytes_of_new_run AFTER INSERT ON runs
BEGIN
    UPDATE history_size SET bytes = bytes + 100 + length(CAST(new.report AS BLOB));
END;
CREATE TRIGGER count_bytes_of_deleted_run AFTER DELETE ON runs
BEGIN
    UPDATE history_size SET bytes = bytes - 100 - length(CAST(old.report AS BLOB));
END;

DROP VIEW defect_records;
-- A defect as people see it. (SQLite before 3.44 cannot read a view with ORDER BY in an aggregate.)
CREATE VIEW defect_records AS
SELECT d.*, (
    SELECT json_group_array(json_array(at, who, decision))
    FROM (SELECT * FROM decisions WHERE defect_id = d.id ORDER BY seq)
) AS decisions
FROM defects d
WHERE d.connection_id NOT IN (SELECT id FROM connections WHERE deleted = 1);
