-- Who may use the admin API and the console.

-- `connections`: a JSON array of the ids that the account sees; NULL: all.
CREATE TABLE account_tokens (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),
    name         TEXT NOT NULL UNIQUE,
    hash         BLOB NOT NULL UNIQUE,
    tail         TEXT NOT NULL,
    role         TEXT NOT NULL,
    connections  TEXT,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT;

-- Browsers that are signed in. `token_id` is NULL if no named token did it.
CREATE TABLE sessions (
    hash        BLOB PRIMARY KEY,
    token_id    BLOB REFERENCES account_tokens ON DELETE CASCADE,
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    connections TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_token ON sessions (token_id);
CREATE INDEX sessions_by_end ON sessions (expires_at);
