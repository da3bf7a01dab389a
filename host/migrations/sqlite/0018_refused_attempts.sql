-- How often a refused attempt was repeated. A client that is not signed in has an empty account and role.
ALTER TABLE audit ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
