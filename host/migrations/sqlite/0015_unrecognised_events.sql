-- Finds the requests that the host did not recognise among all events.
CREATE INDEX events_unrecognised ON events (id) WHERE kind = 'unrecognised';
