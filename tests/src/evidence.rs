//! Reads the data of a failed test from the API of the stand-in for Test Manager.

use serde_json::{Value, json};

use crate::SimulatedTestManager;

/// The data of one failed test.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The name of the test case.
    pub name: String,
    /// The member `info` of the log, which says why the test failed.
    pub info: String,
    /// The screenshots of assertions, and the files of the log.
    pub files: Vec<EvidenceFile>,
    /// The text of the robot's log, without `\r`; empty if no robot ran the test.
    pub robot_log: String,
}

/// A screenshot of an assertion, or a file of the log.
#[derive(Debug, Clone)]
pub struct EvidenceFile {
    /// The file name in Test Manager.
    pub name: String,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

impl SimulatedTestManager {
    /// Returns the fields that a connection needs to read data from this stand-in.
    #[must_use]
    pub fn credentials(&self) -> Value {
        json!({
            "test_manager": {
                "base_url": self.printed_field("base_url"),
                "token_url": self.printed_field("token_url"),
                "client_id": self.printed_field("client_id"),
            },
            "test_manager_client_secret": self.printed_field("client_secret"),
        })
    }

    /// Returns the failed tests of the project SHOP whose test case has this name.
    #[must_use]
    #[track_caller]
    pub fn failed_tests_named(&self, name: &str) -> Vec<Value> {
        let api = self.api("");
        let has_this_name = |failed: &Value| {
            let path =
                format!("/api/v2/{}/testcaselogs/{}", id(failed, "project"), id(failed, "log"));
            api.get(&path).expect(200)["testCase"]["name"] == name
        };
        self.failed_tests("SHOP").into_iter().filter(has_this_name).collect()
    }

    /// Reads the data of a failed test's log.
    #[must_use]
    #[track_caller]
    pub fn evidence(&self, failed: &Value) -> Evidence {
        self.evidence_of_log(id(failed, "project"), id(failed, "log"))
    }

    /// Reads the data of each log that belongs to a failed test. If a log was copied, several logs
    /// belong to the failed test.
    #[must_use]
    #[track_caller]
    pub fn evidence_of_matches(&self, failed: &Value) -> Vec<Evidence> {
        let (project, execution) = (id(failed, "project"), id(failed, "execution"));
        let path =
            format!("/api/v2/{project}/testcaselogs/testexecution/{execution}/paged?top=200");
        let logs = self.api("").get(&path).expect(200)["data"].take();
        let logs = logs.as_array().expect("logs").clone();
        let variation = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let is_match = |log: &&Value| {
            log["testCaseId"] == failed["case"]
                && variation(&log["variationId"]) == variation(&failed["variation"])
        };
        let matching = logs.iter().filter(is_match);
        matching.map(|log| self.evidence_of_log(project, id(log, "id"))).collect()
    }

    fn evidence_of_log(&self, project: &str, log: &str) -> Evidence {
        let (api, base) = (self.api(""), format!("/api/v2/{project}"));
        let record = api.get(&format!("{base}/testcaselogs/{log}")).expect(200);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut files = Vec::new();
        let artifacts = format!("{base}/testcaselogartifacts/{log}/assertions");
        let assertions = api.get(&artifacts).expect(200)["data"].take();
        for assertion in assertions.as_array().expect("assertions") {
            if assertion["hasScreenshot"] == true {
                let path = format!("{artifacts}/{}/downloadscreenshot", id(assertion, "id"));
                let name = text(&assertion["screenshotFileName"]);
                files.push(EvidenceFile { name, bytes: api.download(&path) });
            }
        }
        let list = api.get(&format!("{base}/attachments/testCaseLog/{log}/all")).expect(200);
        for file in list.as_array().expect("files") {
            let path = format!("{base}/attachments/{}/download", id(file, "id"));
            files.push(EvidenceFile { name: text(&file["fileName"]), bytes: api.download(&path) });
        }
        let robot_log = api.download(&format!("{base}/testcaselogs/{log}/logs"));
        Evidence {
            name: text(&record["testCase"]["name"]),
            info: text(&record["info"]),
            files,
            robot_log: String::from_utf8_lossy(&robot_log).replace('\r', ""),
        }
    }
}

/// Returns the body of a Create Defect request for a failed test of the stand-in.
#[must_use]
pub fn webhook_body(failed: &Value) -> Value {
    json!({
        "testExecutionId": failed["execution"],
        "testCaseId": failed["case"],
        "variationId": failed["variation"],
        "linkToTestCaseLog": failed["link"],
    })
}

fn id<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().expect("an id")
}
