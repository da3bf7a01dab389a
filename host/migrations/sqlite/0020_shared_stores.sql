-- What servers that share a database agree on; a server that has its own file writes none of it.

-- Whether another server waits for the end of the row's lease.
ALTER TABLE defects ADD COLUMN lease_end_wanted INTEGER NOT NULL DEFAULT 0;

-- Who asks a tracker for the counts of a project, so that the others wait for its answer.
CREATE TABLE counts_leases (
    connection_id BLOB NOT NULL REFERENCES connections ON DELETE CASCADE,
    project       TEXT NOT NULL,
    holder        BLOB NOT NULL,
    lease_until   INTEGER NOT NULL,
    PRIMARY KEY (connection_id, project)
) STRICT, WITHOUT ROWID;
