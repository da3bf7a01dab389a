-- Until when a connection records bodies, and what its runs exchanged with their tracker.

ALTER TABLE connections ADD COLUMN record_until INTEGER;

-- One row for each recorded run. `input` is a JSON object; `exchanges` is a JSON array of texts.
CREATE TABLE recordings (
    seq       INTEGER PRIMARY KEY,
    event_id  BLOB NOT NULL REFERENCES events ON DELETE CASCADE,
    call      TEXT NOT NULL,
    input     TEXT NOT NULL,
    exchanges TEXT NOT NULL,
    missing   TEXT,
    bytes     INTEGER NOT NULL
) STRICT;
CREATE INDEX recordings_of_event ON recordings (event_id, bytes);

-- One row: the sum of the bytes, so that it can be limited.
CREATE TABLE recordings_size (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO recordings_size (one, bytes) VALUES (1, 0);
CREATE TRIGGER count_bytes_of_new_recording AFTER INSERT ON recordings
BEGIN
    UPDATE recordings_size SET bytes = bytes + new.bytes;
END;
CREATE TRIGGER count_bytes_of_deleted_recording AFTER DELETE ON recordings
BEGIN
    UPDATE recordings_size SET bytes = bytes - old.bytes;
END;
