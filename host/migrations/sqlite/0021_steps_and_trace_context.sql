-- The claims and stores of an event, with their times.
ALTER TABLE events ADD COLUMN steps TEXT;
-- Whether requests to the tracker have the header `traceparent`.
ALTER TABLE connections ADD COLUMN trace_context INTEGER NOT NULL DEFAULT 0;
