-- For trackers, or proxies in front of them, whose HTTP/2 does not work.

ALTER TABLE connections ADD COLUMN http1_only INTEGER NOT NULL DEFAULT 0;
