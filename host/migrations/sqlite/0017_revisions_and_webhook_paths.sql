-- Counts the edits of a connection, so that an edit can name the state that its author has seen.
ALTER TABLE connections ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
-- Further paths of webhook requests, as JSON. NULL: none.
ALTER TABLE connections ADD COLUMN webhook_paths TEXT;
