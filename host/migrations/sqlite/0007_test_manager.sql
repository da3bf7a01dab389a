-- How Test Manager is asked about the failed tests of a connection: JSON, without the secret.

ALTER TABLE connections ADD COLUMN test_manager TEXT;
