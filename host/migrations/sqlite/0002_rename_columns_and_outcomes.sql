-- Renames columns, and replaces the outcome words of earlier versions.
--
-- `released` replaces `closed`: a person released the row, so the next claim of its failed test
-- starts the next generation.

DROP VIEW defect_records;
DROP INDEX defects_unsettled;
DROP TRIGGER runs_go_with_their_event;

ALTER TABLE defects RENAME COLUMN looks TO searches;
ALTER TABLE defects RENAME COLUMN next_look_at TO next_search_at;
ALTER TABLE defects RENAME COLUMN closed TO released;
ALTER TABLE decisions RENAME COLUMN what TO decision;

CREATE INDEX defects_unresolved ON defects (state, next_search_at)
    WHERE state IN ('intent', 'sent', 'in-doubt');

-- A defect as people see it.
CREATE VIEW defect_records AS
SELECT d.*, (
    SELECT json_group_array(json_array(p.at, p.who, p.decision) ORDER BY p.seq)
    FROM decisions p WHERE p.defect_id = d.id
) AS decisions
FROM defects d;

-- A run may be stored before its event, so a foreign key is not possible.
CREATE TRIGGER delete_runs_of_event AFTER DELETE ON events
BEGIN
    DELETE FROM runs WHERE event_id = old.id;
END;

CREATE TEMP TABLE outcome_words (old TEXT PRIMARY KEY, new TEXT NOT NULL);
INSERT INTO outcome_words (old, new) VALUES
    ('connector-broke', 'connector-fault'),
    ('content-type', 'unsupported-media-type'),
    ('deadline', 'deadline-exceeded'),
    ('host-full', 'overloaded'),
    ('internal', 'internal-error'),
    ('invalid', 'invalid-values'),
    ('no-connector', 'connector-unavailable'),
    ('other-project', 'wrong-project'),
    ('resting', 'circuit-open'),
    ('settling', 'outcome-pending'),
    ('store-down', 'store-unavailable'),
    ('too-large', 'payload-too-large'),
    ('tracker-limits', 'tracker-rate-limited');

UPDATE events SET outcome = (SELECT new FROM outcome_words WHERE old = outcome)
WHERE outcome IN (SELECT old FROM outcome_words);

-- An error without a detail was stored as its outcome word.
UPDATE connections SET last_error = (SELECT new FROM outcome_words WHERE old = last_error)
WHERE last_error IN (SELECT old FROM outcome_words);

UPDATE runs SET report = json_set(report, '$.outcome', (
    SELECT new FROM outcome_words WHERE old = json_extract(report, '$.outcome')))
WHERE json_valid(report)
  AND json_extract(report, '$.outcome') IN (SELECT old FROM outcome_words);

UPDATE runs SET report = json_remove(
    json_set(report, '$.usage.polls', json_extract(report, '$.usage.turns')), '$.usage.turns')
WHERE json_valid(report) AND json_type(report, '$.usage.turns') IS NOT NULL;

DROP TABLE outcome_words;
