//! Three servers that share a PostgreSQL and a Redmine, each in a network namespace with links that
//! can be cut, and with a clock of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jackfield_tests::{
    Connection, Guest, Namespace, Postgres, Project, Redmine, ScriptedServer, Setup, TestHost,
    WallClock, merge,
};
use serde_json::{Value, json};

use super::leases;

/// The address of the proxy in front of Redmine, and that of PostgreSQL, in the test's network.
pub(super) const TRACKER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(super) const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The links of a server: of its clients, to PostgreSQL and to Redmine.
const CLIENTS: &str = "clients";
pub(super) const TO_DATABASE: &str = "database";
pub(super) const TO_TRACKER: &str = "tracker";
/// By how much the clock of each server is ahead, seconds.
const AHEAD_S: [i64; 3] = [3_600, 0, -3_600];
const PORT: u16 = 8080;

/// One of the servers.
pub(super) struct Replica {
    pub(super) host: TestHost,
    pub(super) namespace: Namespace,
    clock: WallClock,
    /// By how much its clock is ahead, seconds.
    ahead_s: i64,
}

impl Replica {
    /// Sets the clock to one of the two values that it does not have.
    pub(super) fn step_clock(&mut self, variant: u64) {
        let mut others = AHEAD_S.into_iter().filter(|it| *it != self.ahead_s);
        let which = if variant.is_multiple_of(2) { 0 } else { 1 };
        self.ahead_s = others.nth(which).expect("two other values");
        self.clock.set_ahead(self.ahead_s);
    }

    /// The address from which the server connects to the database.
    pub(super) fn database_client(&self) -> Ipv4Addr {
        self.namespace.address(TO_DATABASE)
    }

    /// The address from which the server sends to the tracker.
    pub(super) fn address(&self) -> IpAddr {
        IpAddr::V4(self.namespace.address(TO_TRACKER))
    }
}

/// The row of a failed test in the database.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) test: String,
    pub(super) fence: i64,
    pub(super) state: String,
    /// Whether a server has a lease on it.
    pub(super) is_leased: bool,
    /// The event that took the last lease.
    pub(super) event: String,
}

/// The servers, and what they share.
pub(super) struct Cluster {
    pub(super) replicas: Vec<Replica>,
    pub(super) connection: Connection,
    pub(super) proxy: ScriptedServer,
    pub(super) project: Project,
    pub(super) postgres: Postgres,
}

impl Cluster {
    /// Starts the servers with this configuration.
    pub(super) fn start(config: &str) -> Self {
        let postgres = Postgres::start_at(DATABASE);
        let redmine = Redmine::shared();
        let proxy = ScriptedServer::proxy_at(SocketAddr::from((TRACKER, 0)), redmine.address());
        let project = redmine.project();
        // The priority makes the connector read before it writes.
        let settings = merge(project.settings(&proxy.url()), json!({"priority": "High"}));
        let (mut replicas, mut connection) = (Vec::new(), None);
        for (number, ahead_s) in (1..).zip(AHEAD_S) {
            let replica = start(number, ahead_s, &postgres, config);
            // The others know it when they start.
            connection.get_or_insert_with(|| {
                replica.host.connect("qa", "redmine", settings.clone(), redmine.secrets())
            });
            replicas.push(replica);
        }
        let connection = connection.expect("at least one server");
        leases::record(&postgres);
        Self { replicas, connection, proxy, project, postgres }
    }

    /// The base URL of each server, which stays when it starts again.
    pub(super) fn urls(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| replica.host.url().to_owned()).collect()
    }

    /// The rows of these failed tests.
    pub(super) fn rows(&self, tests: &[Value]) -> Vec<Row> {
        self.rows_by_id(tests.iter().map(id))
    }

    /// The same rows as they are now.
    pub(super) fn rows_again(&self, rows: &[&Row]) -> Vec<Row> {
        self.rows_by_id(rows.iter().map(|row| row.test.as_str()))
    }

    fn rows_by_id<'t>(&self, tests: impl Iterator<Item = &'t str>) -> Vec<Row> {
        let mut ids: Vec<_> = tests.map(|id| format!("'{id}'")).collect();
        ids.push("NULL".to_owned());
        let sql = format!(
            "SELECT test_execution_id, fence, state, lease_until IS NOT NULL, event_id
             FROM defects WHERE test_execution_id IN ({})",
            ids.join(", ")
        );
        self.postgres.query(&sql).iter().map(|line| row(line)).collect()
    }

    /// Makes the database ignore each new fence: a lease that another server took over is as good
    /// as the new one. The servers are those that everybody runs.
    pub(super) fn remove_fence(&self) {
        self.postgres.query(
            "CREATE FUNCTION keep_fence() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN NEW.fence := OLD.fence; RETURN NEW; END';
             CREATE TRIGGER keep_fence BEFORE UPDATE ON defects
                 FOR EACH ROW EXECUTE FUNCTION keep_fence()",
        );
    }
}

/// The id of a failed test.
pub(super) fn id(test: &Value) -> &str {
    test["testExecutionId"].as_str().expect("a uuid")
}

fn row(line: &str) -> Row {
    let columns: Vec<_> = line.split('|').collect();
    let [test, fence, state, is_leased, event] = columns[..] else { panic!("{line}") };
    Row {
        test: test.to_owned(),
        fence: fence.parse().expect("a number"),
        state: state.to_owned(),
        is_leased: is_leased == "t",
        event: event.to_owned(),
    }
}

fn start(number: u8, ahead_s: i64, postgres: &Postgres, config: &str) -> Replica {
    let links = [(CLIENTS, &[][..]), (TO_DATABASE, &[DATABASE][..]), (TO_TRACKER, &[TRACKER][..])];
    let namespace = Namespace::new(number, &links);
    let clock = WallClock::new();
    clock.set_ahead(ahead_s);
    let enter = namespace.command_prefix();
    let setup: Setup = clock.of(postgres.replica().config(config));
    let host = setup
        .listen(SocketAddr::from((namespace.address(CLIENTS), PORT)))
        .run_under(&[&enter[0], &enter[1], &enter[2]])
        .plugin("redmine", &Guest::example("redmine"))
        .start();
    Replica { host, namespace, clock, ahead_s }
}
