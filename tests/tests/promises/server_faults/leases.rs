//! Creates triggers in PostgreSQL that record the leases of the servers, and refusals by the fence.
//! The triggers never change what the servers do.

use std::net::Ipv4Addr;

use jackfield_tests::Postgres;

/// The text that marks a refusal in PostgreSQL's log. A table could not store refusals, because the
/// statement that the fence refuses is rolled back together with the writes of its triggers.
const REFUSAL_PREFIX: &str = "refused by the fence: ";
/// Creates the triggers. A renewal that changes no row counts as refused by the fence only if
/// another server has a newer lease on a row that the refused server had leased. Without a newer
/// lease, the run may simply have ended.
const TRIGGERS_SQL: &str = "
CREATE TABLE taken_leases (defect uuid, fence bigint, server inet, had_ended boolean);
CREATE FUNCTION record_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO taken_leases VALUES (NEW.id, NEW.fence, inet_client_addr(), FALSE);
    ELSIF NEW.fence > OLD.fence THEN
        INSERT INTO taken_leases VALUES (NEW.id, NEW.fence, inet_client_addr(),
            COALESCE(OLD.lease_until <= extract(epoch FROM clock_timestamp()) * 1000, FALSE));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER record_lease AFTER INSERT OR UPDATE ON defects
    FOR EACH ROW EXECUTE FUNCTION record_lease();
CREATE FUNCTION log_refusal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM changed)
        AND current_query() LIKE '%fence = $2 AND lease_until IS NOT NULL'
        AND EXISTS (
            SELECT FROM taken_leases AS lost
            JOIN taken_leases AS newer ON newer.defect = lost.defect AND newer.fence > lost.fence
            JOIN defects ON defects.id = newer.defect AND defects.fence = newer.fence
            WHERE lost.server = inet_client_addr() AND newer.server <> lost.server
                AND defects.lease_until IS NOT NULL) THEN
        RAISE LOG 'refused by the fence: %', host(inet_client_addr());
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER log_refusal AFTER UPDATE ON defects REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION log_refusal();";
/// Counts the leases whose time had passed when another server took the next lease on the same row.
const COUNT_TAKEN_OVER_SQL: &str = "
SELECT count(*) FROM taken_leases AS old
JOIN taken_leases AS new ON new.defect = old.defect AND new.fence = old.fence + 1
WHERE new.had_ended AND new.server <> old.server";

pub(super) fn create_lease_triggers(postgres: &Postgres) {
    postgres.query(TRIGGERS_SQL);
}

/// Returns how often a server took over an ended lease of another server.
pub(super) fn count_taken_over(postgres: &Postgres) -> usize {
    postgres.query(COUNT_TAKEN_OVER_SQL)[0].parse().expect("a number")
}

/// Returns how often the fence has refused the server with this address.
pub(super) fn count_refused(postgres: &Postgres, server: Ipv4Addr) -> usize {
    let line = format!("{REFUSAL_PREFIX}{server}");
    postgres.log().lines().filter(|it| it.ends_with(&line)).count()
}
