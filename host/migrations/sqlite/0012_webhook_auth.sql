-- What senders of a connection's webhooks must show beside the token, as JSON without the secrets.

ALTER TABLE connections ADD COLUMN webhook_auth TEXT;
