-- Stores facts about the writes of each generation, so that a Create Defect request can decide by a
-- search whether it may create the defect again; how late a tracker's search finds new records; and
-- the maximum time that a replaced token is valid.

ALTER TABLE connections ADD COLUMN index_delay_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN index_lag_ms INTEGER NOT NULL DEFAULT 0;

ALTER TABLE tokens ADD COLUMN grace_ms INTEGER;
UPDATE tokens SET grace_ms = MAX(0, expires_at - unixepoch() * 1000) WHERE expires_at IS NOT NULL;

DROP VIEW defect_records;
DROP INDEX defects_unresolved;

-- The class of the generation's worst write, and whether one of its writes was answered 403.
ALTER TABLE defects ADD COLUMN class TEXT
    CHECK (class IN ('refused', 'unclear', 'open', 'acknowledged'));
ALTER TABLE defects ADD COLUMN forbidden INTEGER NOT NULL DEFAULT 0;
-- `marked`: whether the first write of each earlier run contained the marker. `run_writes` and
-- `run_marked`: the writes of the last run, and the same about its first write.
ALTER TABLE defects ADD COLUMN marked INTEGER NOT NULL DEFAULT 1;
ALTER TABLE defects ADD COLUMN run_writes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE defects ADD COLUMN run_marked INTEGER NOT NULL DEFAULT 1;
-- The settings, the granted origins and the connector of the last run.
ALTER TABLE defects ADD COLUMN run_settings TEXT;
ALTER TABLE defects ADD COLUMN run_origins TEXT;
ALTER TABLE defects ADD COLUMN run_sha256 TEXT;
-- The start of the waits: the end of the last write, or later.
ALTER TABLE defects ADD COLUMN wait_from INTEGER;
ALTER TABLE defects ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE defects ADD COLUMN needs_person TEXT;
ALTER TABLE defects ADD COLUMN decided TEXT CHECK (decided IN ('retry', 'give-up'));
-- The fence and the outcome of the last run. They answer requests that waited for this run.
ALTER TABLE defects ADD COLUMN ended_fence INTEGER;
ALTER TABLE defects ADD COLUMN ended_code TEXT;

UPDATE defects SET decided = 'retry' WHERE retry = 1 AND state = 'in-doubt';
ALTER TABLE defects DROP COLUMN retry;

-- Earlier versions took every 4xx for a proof that nothing was created; it is not.
-- Whether it was a 403 is not known any more, so a search must show that it can see.
UPDATE defects SET class = 'unclear', forbidden = 1, wait_from = updated_at
WHERE state = 'failed' AND writes > 0;
UPDATE defects SET class = 'acknowledged', wait_from = COALESCE(write_ended_at, updated_at),
    writes = MAX(writes, 1)
WHERE state = 'in-doubt';
UPDATE defects SET next_search_at = NULL WHERE state NOT IN ('sent', 'in-doubt');

CREATE INDEX defects_unresolved ON defects (state, connection_id)
    WHERE state IN ('intent', 'sent', 'in-doubt');
CREATE INDEX defects_to_search ON defects (next_search_at) WHERE next_search_at IS NOT NULL;

-- A defect as people see it. (SQLite before 3.44 cannot read a view with ORDER BY in an aggregate.)
CREATE VIEW defect_records AS
SELECT d.*, (
    SELECT json_group_array(json_array(at, who, decision))
    FROM (SELECT * FROM decisions WHERE defect_id = d.id ORDER BY seq)
) AS decisions
FROM defects d;
