-- Finds events by their defect, by its key in the tracker, and by words of their error. (Events that
-- were stored before have no words.)
CREATE TABLE event_words (
    word     TEXT NOT NULL,
    event_id BLOB NOT NULL REFERENCES events ON DELETE CASCADE,
    PRIMARY KEY (word, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_words_of_event ON event_words (event_id);
CREATE INDEX events_of_defect ON events (defect_id, id) WHERE defect_id IS NOT NULL;

ALTER TABLE defects ADD COLUMN key TEXT GENERATED ALWAYS AS (defect ->> '$.key') VIRTUAL;
CREATE INDEX defects_by_key ON defects (key) WHERE key IS NOT NULL;
