-- What the export of a recorded run returned, as JSON. NULL in rows of earlier versions.
ALTER TABLE recordings ADD COLUMN answer TEXT;
