//! Starts three servers that share a PostgreSQL database and a Redmine. Each server has a clock of
//! its own, and runs in a network namespace whose links can be cut.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jackfield_tests::{
    Connection, Guest, Namespace, Postgres, Project, Redmine, ScriptedServer, Setup, TestHost,
    WallClock, merge,
};
use serde_json::{Value, json};

use super::leases;

/// The address of the proxy in front of Redmine, in the test's network.
pub(super) const TRACKER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The address of PostgreSQL, in the test's network.
pub(super) const DATABASE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const TO_CLIENTS: &str = "clients";
pub(super) const TO_DATABASE: &str = "database";
pub(super) const TO_TRACKER: &str = "tracker";
/// How many seconds the clock of each server is ahead of the real time at the start.
const CLOCKS_AHEAD_S: [i64; 3] = [3_600, 0, -3_600];
const PORT: u16 = 8080;

pub(super) struct Server {
    pub(super) host: TestHost,
    pub(super) namespace: Namespace,
    clock: WallClock,
    clock_ahead_s: i64,
}

impl Server {
    /// Sets the server's clock to one of the two other values of `CLOCKS_AHEAD_S`.
    pub(super) fn step_clock(&mut self, variant: u64) {
        let mut others = CLOCKS_AHEAD_S.into_iter().filter(|it| *it != self.clock_ahead_s);
        let index = if variant.is_multiple_of(2) { 0 } else { 1 };
        self.clock_ahead_s = others.nth(index).expect("two other values");
        self.clock.set_ahead(self.clock_ahead_s);
    }

    pub(super) fn address_at_database(&self) -> Ipv4Addr {
        self.namespace.address(TO_DATABASE)
    }

    pub(super) fn address_at_tracker(&self) -> IpAddr {
        IpAddr::V4(self.namespace.address(TO_TRACKER))
    }
}

/// The row of a failed test in the database.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The id of the test execution.
    pub(super) test: String,
    pub(super) fence: i64,
    pub(super) state: String,
    pub(super) is_leased: bool,
    /// The id of the event that claimed the row last.
    pub(super) event: String,
}

pub(super) struct Cluster {
    pub(super) servers: Vec<Server>,
    pub(super) connection: Connection,
    /// The proxy between the servers and Redmine.
    pub(super) proxy: ScriptedServer,
    pub(super) project: Project,
    pub(super) postgres: Postgres,
}

impl Cluster {
    pub(super) fn start(config: &str) -> Self {
        let postgres = Postgres::start_at(DATABASE_ADDRESS);
        let redmine = Redmine::shared();
        let proxy =
            ScriptedServer::proxy_at(SocketAddr::from((TRACKER_ADDRESS, 0)), redmine.address());
        let project = redmine.project();
        // With a priority in the settings, the connector sends a read before its write.
        let settings = merge(project.settings(&proxy.url()), json!({"priority": "High"}));
        let (mut servers, mut connection) = (Vec::new(), None);
        for (number, clock_ahead_s) in (1..).zip(CLOCKS_AHEAD_S) {
            let server = start_server(number, clock_ahead_s, &postgres, config);
            // The first server creates the connection. The other servers read the connection from
            // the database when they start.
            connection.get_or_insert_with(|| {
                server.host.add_connection("qa", "redmine", settings.clone(), redmine.secrets())
            });
            servers.push(server);
        }
        let connection = connection.expect("at least one server");
        leases::create_lease_triggers(&postgres);
        Self { servers, connection, proxy, project, postgres }
    }

    /// Returns the base URL of each server. A restart does not change these URLs.
    pub(super) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.host.url().to_owned()).collect()
    }

    pub(super) fn read_rows(&self, tests: &[Value]) -> Vec<Row> {
        self.read_rows_by_id(tests.iter().map(execution_id))
    }

    pub(super) fn reread_rows(&self, rows: &[&Row]) -> Vec<Row> {
        self.read_rows_by_id(rows.iter().map(|row| row.test.as_str()))
    }

    fn read_rows_by_id<'t>(&self, tests: impl Iterator<Item = &'t str>) -> Vec<Row> {
        let mut ids: Vec<_> = tests.map(|id| format!("'{id}'")).collect();
        ids.push("NULL".to_owned());
        let sql = format!(
            "SELECT test_execution_id, fence, state, lease_until IS NOT NULL, event_id
             FROM defects WHERE test_execution_id IN ({})",
            ids.join(", ")
        );
        self.postgres.query(&sql).iter().map(|line| parse_row(line)).collect()
    }

    /// Makes the database keep each old fence, so that a server is no longer refused after another
    /// server has taken over its lease.
    pub(super) fn remove_fence(&self) {
        self.postgres.query(
            "CREATE FUNCTION keep_fence() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN NEW.fence := OLD.fence; RETURN NEW; END';
             CREATE TRIGGER keep_fence BEFORE UPDATE ON defects
                 FOR EACH ROW EXECUTE FUNCTION keep_fence()",
        );
    }
}

pub(super) fn execution_id(test: &Value) -> &str {
    test["testExecutionId"].as_str().expect("a uuid")
}

fn parse_row(line: &str) -> Row {
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

fn start_server(number: u8, clock_ahead_s: i64, postgres: &Postgres, config: &str) -> Server {
    let links = [
        (TO_CLIENTS, &[][..]),
        (TO_DATABASE, &[DATABASE_ADDRESS][..]),
        (TO_TRACKER, &[TRACKER_ADDRESS][..]),
    ];
    let namespace = Namespace::new(number, &links);
    let clock = WallClock::new();
    clock.set_ahead(clock_ahead_s);
    let enter = namespace.command_prefix();
    let setup: Setup = clock.add_to(postgres.server_setup().config(config));
    let host = setup
        .listen(SocketAddr::from((namespace.address(TO_CLIENTS), PORT)))
        .run_under(&[&enter[0], &enter[1], &enter[2]])
        .plugin("redmine", &Guest::example("redmine"))
        .start();
    Server { host, namespace, clock, clock_ahead_s }
}
