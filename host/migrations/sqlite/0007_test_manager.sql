-- The address of Test Manager and the account for requests about failed tests, as JSON without the
-- secret.

ALTER TABLE connections ADD COLUMN test_manager TEXT;
