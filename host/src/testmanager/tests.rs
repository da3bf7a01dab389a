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
use crate::egress::tests::{FakeTracker, RequestsBuilder, answer};
use crate::memory::HostMemory;
use crate::report::{Subject, TestData, TestDataSource};
use crate::secret::{Sealer, Secret};
use crate::store::{SqliteStore, Store};

const CLIENT_SECRET: &str = "the-client-secret-of-a-test";
const TOKEN: &str = "a-token-that-the-server-issued";
const EXECUTION_ID: u128 = 0xE;
const TEST_CASE_ID: u128 = 0xC;

/// A [`TestManager`], and the settings of a connection, which a test may change.
struct Setup {
    settings: TestManagerSettings,
    pinned_project: Option<String>,
    limits: Limits,
    manager: TestManager,
    store: Arc<dyn Store>,
    _folder: TempDir,
}

impl Setup {
    /// The settings contain the project "p1".
    fn new(server: &FakeTracker) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("jackfield.db"), &Sealer::fresh());
        let store: Arc<dyn Store> = Arc::new(store.unwrap());
        let manager = TestManager::new(Dependencies {
            egress: RequestsBuilder::granting(&[]).egress(),
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
        Self {
            settings,
            pinned_project: None,
            limits: Limits::default(),
            manager,
            store,
            _folder: folder,
        }
    }

    fn active_connection(&self) -> Arc<ActiveConnection> {
        let id = ConnectionId(Uuid::from_u128(1));
        let connection = Connection::new(
            id,
            "qa".to_owned(),
            "test".parse().unwrap(),
            jiff::Timestamp::UNIX_EPOCH,
        );
        let connection = Connection {
            test_manager: Some(self.settings.clone()),
            project: self.pinned_project.clone(),
            ..connection
        };
        let secret = Secret::new(CLIENT_SECRET.to_owned());
        let secrets = BTreeMap::from([(TEST_MANAGER_SECRET.to_owned(), secret)]);
        Arc::new(ActiveConnection::new(connection, secrets))
    }

    /// Returns a source for a failed test without a variation and without a link.
    fn source(&self, active: &Arc<ActiveConnection>) -> Arc<dyn TestDataSource> {
        self.source_of_test(active, &failed_test(None, None))
    }

    fn source_of_test(
        &self,
        active: &Arc<ActiveConnection>,
        test: &FailedTest,
    ) -> Arc<dyn TestDataSource> {
        self.manager.source(active, test, &self.limits).unwrap()
    }

    async fn fetch(&self, subjects: &[Subject]) -> TestData {
        self.source(&self.active_connection()).fetch(&subject_set(subjects), test_deadline()).await
    }
}

fn subject_set(subjects: &[Subject]) -> BTreeSet<Subject> {
    subjects.iter().copied().collect()
}

/// Returns a deadline that a successful test does not reach.
fn test_deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn failed_test(variation: Option<&str>, link: Option<&str>) -> FailedTest {
    let (execution, case) = (Uuid::from_u128(EXECUTION_ID), Uuid::from_u128(TEST_CASE_ID));
    FailedTest::new(execution, case, variation.map(str::to_owned), link.map(str::to_owned))
}

/// Returns the path of a request, without the path of the API and without the query.
fn api_path(request: &str) -> &str {
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    path.strip_prefix("/org/tm_/api/v2").unwrap_or(path)
}

/// Returns the paths of the requests that the server received, except requests for tokens.
fn api_paths(server: &FakeTracker) -> Vec<String> {
    let requests = server.requests().into_iter().map(|request| api_path(&request).to_owned());
    requests.filter(|path| path != "/identity/token").collect()
}

fn token_answer() -> Vec<u8> {
    json_answer(&json!({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}))
}

fn json_answer(body: &Value) -> Vec<u8> {
    answer("200 OK", &[("content-type", "application/json")], body.to_string().as_bytes())
}

fn not_found_answer() -> Vec<u8> {
    answer("404 Not Found", &[], b"")
}

fn log_json(id: &str, variation: Option<&str>) -> Value {
    json!({
        "id": id,
        "testCaseId": Uuid::from_u128(TEST_CASE_ID),
        "variationId": variation,
        "result": "Failed",
        "info": "it broke",
        "testCase": {"id": Uuid::from_u128(TEST_CASE_ID), "objKey": "SHOP:1", "name": "Pay", "description": null},
    })
}

/// Answers a request like a Test Manager without faults, which has one log with one assertion and
/// its screenshot.
fn answer_without_fault(request: &str) -> Vec<u8> {
    let execution = Uuid::from_u128(EXECUTION_ID);
    let case = Uuid::from_u128(TEST_CASE_ID);
    match api_path(request) {
        "/identity/token" => token_answer(),
        "/projects/p1" | "/projects/prefix/SHOP" => {
            json_answer(&json!({"id": "p1", "projectPrefix": "SHOP", "name": "Shop"}))
        }
        path if path == format!("/p1/testcaselogs/testexecution/{execution}/paged") => {
            json_answer(&json!({"data": [log_json("l1", None)], "paging": {"total": 1}}))
        }
        path if path == format!("/p1/testexecutions/{execution}") => {
            json_answer(&json!({"id": execution, "name": "Nightly", "testSetId": "s1"}))
        }
        path if path == format!("/p1/testcases/{case}") => {
            json_answer(&json!({"id": case, "name": "Pay", "description": "All of it"}))
        }
        "/p1/testsets/s1" => json_answer(&json!({"id": "s1", "name": "Smoke"})),
        "/p1/testcaselogartifacts/l1/assertions" => json_answer(&json!({"data": [
            {"id": "a1", "message": "1 = 2", "succeeded": false, "hasScreenshot": true}
        ]})),
        "/p1/testcaselogartifacts/l1/assertions/a1/downloadscreenshot" => {
            answer("200 OK", &[("content-type", "image/png")], b"\x89PNG...")
        }
        path if path == format!("/p1/orchestrator/testexecution/{execution}/robotlogs/paged") => {
            json_answer(
                &json!({"data": [{"level": "Error", "message": "second"}, {"message": "first"}],
                "paging": {"total": 2}}),
            )
        }
        "/p1/attachments/testCaseLog/l1/all" => {
            json_answer(&json!([{"id": "f1", "fileName": "run.har"}]))
        }
        path if path == format!("/p1/testcases/{case}/assignedrequirements") => {
            json_answer(&json!({"data": [{"id": "r1", "objKey": "SHOP:9", "name": "Pays"}],
                "totalItems": 1, "hasNextPage": false}))
        }
        path if path == format!("/p1/objectlabels/testCase/{case}/all") => {
            json_answer(&json!([{"name": "smoke"}]))
        }
        "/p1/customfieldvalues/testCase/all" => json_answer(&json!({"data": [
            {"objectId": Uuid::from_u128(7), "name": "team", "value": "other"},
            {"objectId": case, "name": "team", "value": "blue"},
        ]})),
        "/p1/teststeplogs" => json_answer(&json!([{"description": "Click", "result": "Failed"}])),
        path if path == format!("/p1/testcaselogs/testcase/{case}/history") => {
            json_answer(&json!({"data": [{"testExecutionId": "e0", "result": "Passed"}]}))
        }
        _ => not_found_answer(),
    }
}
