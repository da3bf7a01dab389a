-- An admin's settings for the reports of a connection: templates, fields, mask, attachments,
-- routing. JSON, as it was entered.

ALTER TABLE connections ADD COLUMN report TEXT NOT NULL DEFAULT '{}';
