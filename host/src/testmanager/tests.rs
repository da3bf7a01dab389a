//! Tests the requests to Test Manager, against a scripted server on loopback.

mod faults;
mod files;
mod lists;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Dependencies, TestManager};
use crate::domain::{
    Connection, ConnectionId, FailedTest, Limits, SystemClock, TEST_MANAGER_SECRET,
    TestManagerSettings,
};
use crate::egress::ActiveConnection;
use crate::egress::tests::{FakeTracker, SessionBuilder, answer};
use crate::memory::HostMemory;
use crate::report::{Source, Subject, TestData};
use crate::secret::{Sealer, Secret};
use crate::store::{SqliteStore, Store};

const CLIENT_SECRET: &str = "the-client-secret-of-a-test";
const TOKEN: &str = "a-token-that-the-server-gave";
const EXECUTION: u128 = 0xE;
const CASE: u128 = 0xC;

/// The connection of a test, with settings for Test Manager that a test may change.
struct Setup {
    settings: TestManagerSettings,
    pinned: Option<String>,
    limits: Limits,
    manager: TestManager,
    store: Arc<dyn Store>,
    _folder: TempDir,
}

impl Setup {
    /// A connection whose settings name the project "p1".
    fn new(server: &FakeTracker) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("jackfield.db"), &Sealer::fresh());
        let store: Arc<dyn Store> = Arc::new(store.unwrap());
        let manager = TestManager::new(Dependencies {
            egress: SessionBuilder::granting(&[]).egress(),
            store: Arc::clone(&store),
            memory: HostMemory::new(u64::MAX),
            clock: Arc::new(SystemClock),
        });
        let settings = TestManagerSettings {
            base_url: server.url("/org/tm_").parse().unwrap(),
            token_url: server.url("/identity/token").parse().unwrap(),
            client_id: "jackfield".to_owned(),
            scopes: vec!["TM.Projects.Read".to_owned(), "TM.TestExecutions.Read".to_owned()],
            project_id: Some("p1".to_owned()),
            asset_origins: Vec::new(),
        };
        Self { settings, pinned: None, limits: Limits::default(), manager, store, _folder: folder }
    }

    fn active(&self) -> Arc<ActiveConnection> {
        let id = ConnectionId(Uuid::from_u128(1));
        let connection = Connection::new(
            id,
            "qa".to_owned(),
            "test".parse().unwrap(),
            jiff::Timestamp::UNIX_EPOCH,
        );
        let connection = Connection {
            test_manager: Some(self.settings.clone()),
            project: self.pinned.clone(),
            ..connection
        };
        let secret = Secret::new(CLIENT_SECRET.to_owned());
        let secrets = BTreeMap::from([(TEST_MANAGER_SECRET.to_owned(), secret)]);
        Arc::new(ActiveConnection::new(connection, secrets))
    }

    fn source(&self, active: &Arc<ActiveConnection>) -> Arc<dyn Source> {
        self.source_of(active, &failed_test(None, None))
    }

    fn source_of(&self, active: &Arc<ActiveConnection>, test: &FailedTest) -> Arc<dyn Source> {
        self.manager.source(active, test, &self.limits).unwrap()
    }

    /// Fetches these parts of one failed test.
    async fn fetch(&self, subjects: &[Subject]) -> TestData {
        self.source(&self.active()).fetch(&set(subjects), soon()).await
    }
}

fn set(subjects: &[Subject]) -> BTreeSet<Subject> {
    subjects.iter().copied().collect()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn failed_test(variation: Option<&str>, link: Option<&str>) -> FailedTest {
    let (execution, case) = (Uuid::from_u128(EXECUTION), Uuid::from_u128(CASE));
    FailedTest::new(execution, case, variation.map(str::to_owned), link.map(str::to_owned))
}

/// The target of a request without the path of Test Manager and without the query.
fn path(request: &str) -> &str {
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    path.strip_prefix("/org/tm_/api/v2").unwrap_or(path)
}

/// The paths that the server received, without requests for tokens.
fn paths(server: &FakeTracker) -> Vec<String> {
    let requests = server.requests().into_iter().map(|request| path(&request).to_owned());
    requests.filter(|path| path != "/identity/token").collect()
}

fn token() -> Vec<u8> {
    ok(&json!({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}))
}

fn ok(body: &Value) -> Vec<u8> {
    answer("200 OK", &[("content-type", "application/json")], body.to_string().as_bytes())
}

fn not_found() -> Vec<u8> {
    answer("404 Not Found", &[], b"")
}

fn log(id: &str, variation: Option<&str>) -> Value {
    json!({
        "id": id,
        "testCaseId": Uuid::from_u128(CASE),
        "variationId": variation,
        "result": "Failed",
        "info": "it broke",
        "testCase": {"id": Uuid::from_u128(CASE), "objKey": "SHOP:1", "name": "Pay", "description": null},
    })
}

/// Answers like a Test Manager without faults, with one log, one assertion and its screenshot.
fn answer_well(request: &str) -> Vec<u8> {
    let execution = Uuid::from_u128(EXECUTION);
    let case = Uuid::from_u128(CASE);
    match path(request) {
        "/identity/token" => token(),
        "/projects/p1" | "/projects/prefix/SHOP" => {
            ok(&json!({"id": "p1", "projectPrefix": "SHOP", "name": "Shop"}))
        }
        path if path == format!("/p1/testcaselogs/testexecution/{execution}/paged") => {
            ok(&json!({"data": [log("l1", None)], "paging": {"total": 1}}))
        }
        path if path == format!("/p1/testexecutions/{execution}") => {
            ok(&json!({"id": execution, "name": "Nightly", "testSetId": "s1"}))
        }
        path if path == format!("/p1/testcases/{case}") => {
            ok(&json!({"id": case, "name": "Pay", "description": "All of it"}))
        }
        "/p1/testsets/s1" => ok(&json!({"id": "s1", "name": "Smoke"})),
        "/p1/testcaselogartifacts/l1/assertions" => ok(&json!({"data": [
            {"id": "a1", "message": "1 = 2", "succeeded": false, "hasScreenshot": true}
        ]})),
        "/p1/testcaselogartifacts/l1/assertions/a1/downloadscreenshot" => {
            answer("200 OK", &[("content-type", "image/png")], b"\x89PNG...")
        }
        path if path == format!("/p1/orchestrator/testexecution/{execution}/robotlogs/paged") => {
            ok(&json!({"data": [{"level": "Error", "message": "second"}, {"message": "first"}],
                "paging": {"total": 2}}))
        }
        "/p1/attachments/testCaseLog/l1/all" => ok(&json!([{"id": "f1", "fileName": "run.har"}])),
        path if path == format!("/p1/testcases/{case}/assignedrequirements") => {
            ok(&json!({"data": [{"id": "r1", "objKey": "SHOP:9", "name": "Pays"}],
                "totalItems": 1, "hasNextPage": false}))
        }
        path if path == format!("/p1/objectlabels/testCase/{case}/all") => {
            ok(&json!([{"name": "smoke"}]))
        }
        "/p1/customfieldvalues/testCase/all" => ok(&json!({"data": [
            {"objectId": Uuid::from_u128(7), "name": "team", "value": "other"},
            {"objectId": case, "name": "team", "value": "blue"},
        ]})),
        "/p1/teststeplogs" => ok(&json!([{"description": "Click", "result": "Failed"}])),
        path if path == format!("/p1/testcaselogs/testcase/{case}/history") => {
            ok(&json!({"data": [{"testExecutionId": "e0", "result": "Passed"}]}))
        }
        _ => not_found(),
    }
}
