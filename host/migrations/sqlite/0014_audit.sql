-- Who changed what. `object`: what it concerned; `outcome` is NULL until the change was answered.
CREATE TABLE audit (
    id       BLOB PRIMARY KEY CHECK (length(id) = 16),
    at       INTEGER NOT NULL,
    account  TEXT NOT NULL,
    role     TEXT NOT NULL,
    client   TEXT NOT NULL,
    via      TEXT NOT NULL,
    action   TEXT NOT NULL,
    object   TEXT,
    outcome  TEXT,
    event_id BLOB
) STRICT, WITHOUT ROWID;
