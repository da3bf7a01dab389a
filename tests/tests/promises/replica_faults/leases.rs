//! What PostgreSQL sees of the servers' leases: which server took one over after its end, and how
//! often the fence refused a server. Triggers record it, and change nothing.

use std::net::Ipv4Addr;

use jackfield_tests::Postgres;

/// The mark of a refusal in PostgreSQL's log: a refused statement is rolled back, and with it
/// whatever a trigger wrote into a table.
const REFUSED: &str = "refused by the fence: ";
/// The fence has refused a renewal that changes no row, while another server has a newer lease on a
/// row of the first. Without that lease, the run may just have ended.
const TRIGGERS: &str = "
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
/// A lease of one server that had ended, and the next lease on the same row, of another server.
const TAKEN_OVER: &str = "
SELECT count(*) FROM taken_leases AS old
JOIN taken_leases AS new ON new.defect = old.defect AND new.fence = old.fence + 1
WHERE new.had_ended AND new.server <> old.server";

/// Lets PostgreSQL record leases from now on.
pub(super) fn record(postgres: &Postgres) {
    postgres.query(TRIGGERS);
}

/// How often a server took over a lease of another one that had ended.
pub(super) fn taken_over(postgres: &Postgres) -> usize {
    postgres.query(TAKEN_OVER)[0].parse().expect("a number")
}

/// How often the fence has refused the server with this address.
pub(super) fn refused(postgres: &Postgres, server: Ipv4Addr) -> usize {
    let line = format!("{REFUSED}{server}");
    postgres.log().lines().filter(|it| it.ends_with(&line)).count()
}
