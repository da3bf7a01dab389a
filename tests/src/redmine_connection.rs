//! A connection to a real Redmine through a proxy that can lose or delay requests.

use std::thread;

use serde_json::Value;

use crate::{
    Answer, Connection, Guest, Project, Redmine, Reply, ScriptedServer, Setup, TestHost,
    failed_test, wait_for,
};

/// The number of threads that send requests in [`RedmineFixture::click_while`].
const CLICKERS: usize = 4;

/// A connection to its own project of the shared Redmine, through its own proxy.
pub struct RedmineConnection {
    /// The project in Redmine.
    pub project: Project,
    /// The proxy in front of Redmine. It forwards every request until a test sets another script.
    pub proxy: ScriptedServer,
    /// The connection in Jackfield to this project.
    pub connection: Connection,
}

/// A server with one connection to Redmine.
pub struct RedmineFixture {
    /// The running Jackfield server.
    pub host: TestHost,
    /// The project in Redmine.
    pub project: Project,
    /// The proxy in front of Redmine. It forwards every request until a test sets another script.
    pub proxy: ScriptedServer,
    /// The connection in Jackfield to this project.
    pub connection: Connection,
}

impl TestHost {
    /// Creates a connection to a new project of the shared Redmine, through a new proxy.
    #[must_use]
    #[track_caller]
    pub fn add_redmine_connection(
        &self,
        name: &str,
        connector: &str,
        settings: Value,
    ) -> RedmineConnection {
        let redmine = Redmine::shared();
        let project = redmine.project();
        let proxy = ScriptedServer::proxy_to(redmine.address());
        let settings = merge(project.settings(&proxy.url()), settings);
        let connection = self.add_connection(name, connector, settings, redmine.secrets());
        RedmineConnection { project, proxy, connection }
    }
}

impl RedmineConnection {
    /// Sends a Create Defect request while the proxy loses Redmine's answers to POST requests. If
    /// the request fails, sends it once more, without losses. Checks that Jackfield returns the
    /// only issue that Redmine created.
    #[track_caller]
    pub fn assert_defect_is_found_after_lost_answer(&self, host: &TestHost) {
        let before = self.project.issues().len();
        self.proxy.set_script(|exchange| {
            let answer = exchange.pass();
            if exchange.request.is_post() { Reply::reset() } else { answer }
        });
        let test = failed_test();
        let first = host.create(&self.connection, &test);
        self.proxy.forward_all();
        let defect = match first.status {
            200 => first.json(),
            _ => host.create(&self.connection, &test).expect(200),
        };
        let issues = self.project.issues();
        assert_eq!(issues.len(), before + 1);
        assert_eq!(defect["id"], issues[before].id);
    }
}

impl Setup {
    /// Starts a server with one connector and a connection `qa` to Redmine.
    #[must_use]
    #[track_caller]
    pub fn start_with_redmine(
        self,
        connector: &str,
        guest: &Guest,
        settings: Value,
    ) -> RedmineFixture {
        let host = self.plugin(connector, guest).start();
        let RedmineConnection { project, proxy, connection } =
            host.add_redmine_connection("qa", connector, settings);
        RedmineFixture { host, project, proxy, connection }
    }
}

impl RedmineFixture {
    /// Sends a Create Defect request and waits for the answer.
    #[must_use]
    #[track_caller]
    pub fn create(&self, test: &Value) -> Answer {
        self.host.create(&self.connection, test)
    }

    /// Calls [`TestHost::create_until_final`] for this connection.
    #[track_caller]
    pub fn create_until_final(&self, test: &Value) -> Result<Value, String> {
        self.host.create_until_final(&self.connection, test)
    }

    /// Checks that a failed test has the defect with this id, and exactly one issue in Redmine.
    #[track_caller]
    pub fn assert_one_issue(&self, test: &Value, id: &Value) {
        let defect = self.create_until_final(test).expect("the defect");
        assert_eq!(defect["id"], *id);
        assert_eq!(self.project.issues_of(test).len(), 1);
    }

    /// Creates defects for new failed tests in several threads, `clicks` defects in each, while
    /// `meanwhile` runs. The argument of `meanwhile` is the number of defects of all threads.
    /// Checks in the end that each failed test has exactly one issue.
    #[track_caller]
    pub fn click_while(&self, clicks: usize, meanwhile: impl FnOnce(usize)) {
        let click = || {
            let test = failed_test();
            let id = self.create_until_final(&test).expect("the defect")["id"].clone();
            (test, id)
        };
        let clicked: Vec<_> = thread::scope(|scope| {
            let clicker = || (0..clicks).map(|_| click()).collect::<Vec<_>>();
            let clickers: Vec<_> = (0..CLICKERS).map(|_| scope.spawn(clicker)).collect();
            meanwhile(clicks * CLICKERS);
            clickers.into_iter().flat_map(|it| it.join().expect("no click panicked")).collect()
        });
        assert_eq!(clicked.len(), clicks * CLICKERS);
        clicked.iter().for_each(|(test, id)| self.assert_one_issue(test, id));
    }

    /// Waits at most a minute until the proxy has received this many POST requests.
    #[track_caller]
    pub fn await_posts(&self, posts: usize) {
        wait_for("POST requests to Redmine", 60, || (self.proxy.posts() >= posts).then_some(()));
    }
}

/// Merges two JSON objects. A member of `more` replaces a member of `base` with the same name.
#[must_use]
#[track_caller]
pub fn merge(mut base: Value, more: Value) -> Value {
    let (Some(members), Value::Object(more)) = (base.as_object_mut(), more) else {
        panic!("not two objects: {base}")
    };
    members.extend(more);
    base
}
