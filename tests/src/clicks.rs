//! Sends Create Defect requests, and the decisions of a person about a defect in doubt.

use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::{Answer, Connection, TestHost, wait_for};

/// Returns the body of a Create Defect request for a new failed test.
#[must_use]
pub fn failed_test() -> Value {
    json!({
        "testExecutionId": uuid::Uuid::new_v4().to_string(),
        "testCaseId": uuid::Uuid::new_v4().to_string(),
        "variationId": null,
        "linkToTestCaseLog": "https://tm.example/QA/testexecution-results/1/2",
    })
}

/// A Create Defect request that a thread sends in the background.
#[derive(Debug)]
pub struct Click(JoinHandle<Option<Answer>>);

impl Click {
    /// Waits for the end of the request. Returns `None` if there was no complete answer.
    #[must_use]
    #[track_caller]
    pub fn finish(self) -> Option<Answer> {
        self.0.join().expect("the thread of the request ends without a panic")
    }

    /// Waits for the answer. Panics if there is none.
    #[must_use]
    #[track_caller]
    pub fn answer(self) -> Answer {
        self.finish().expect("the request is answered")
    }

    /// Waits for the end of the request, and checks that it was not answered.
    #[track_caller]
    pub fn assert_unanswered(self) {
        let answer = self.finish();
        assert!(answer.is_none(), "the request was answered: {answer:?}");
    }

    /// Returns whether the request has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl TestHost {
    /// Sends a Create Defect request and waits for the answer.
    #[track_caller]
    pub fn create(&self, connection: &Connection, test: &Value) -> Answer {
        self.anonymous().json("POST", &connection.create_path(), test)
    }

    /// Sends a Create Defect request in the background.
    #[must_use]
    pub fn create_in_background(&self, connection: &Connection, test: &Value) -> Click {
        let (client, path) = (self.anonymous(), connection.create_path());
        let (headers, body) = ([("content-type", "application/json")], test.to_string());
        let send = move || client.attempt("POST", &path, &headers, body.as_bytes());
        Click(std::thread::spawn(send))
    }

    /// Repeats a Create Defect request while the answer is 503 or 504, for at most 90 seconds.
    /// Returns the defect.
    ///
    /// # Errors
    /// If the defect is in doubt: the detail of the answer with the status 409.
    #[track_caller]
    pub fn create_until_final(
        &self,
        connection: &Connection,
        test: &Value,
    ) -> Result<Value, String> {
        wait_for("a final answer to the repeated click", 90, || {
            let answer = self.create(connection, test);
            match answer.status {
                200 => Some(Ok(answer.json())),
                409 => Some(Err(answer.problem(409, "in-doubt"))),
                503 | 504 => None,
                _ => panic!("{answer:?}"),
            }
        })
    }

    /// Returns the id of one defect in doubt, or `None` if no defect is in doubt.
    #[must_use]
    #[track_caller]
    pub fn defect_in_doubt(&self) -> Option<String> {
        let defects = self.admin().get("/defects?state=in-doubt").expect(200);
        defects["defects"][0]["id"].as_str().map(str::to_owned)
    }

    /// Sends a decision about a defect in doubt to the admin API.
    #[must_use]
    #[track_caller]
    pub fn resolve(&self, id: &str, decision: &Value) -> Answer {
        self.admin().json("POST", &format!("/defects/{id}/resolve"), decision)
    }

    /// Sends the decision to retry a defect in doubt to the admin API.
    #[track_caller]
    pub fn retry_by_api(&self) {
        let id = self.defect_in_doubt().expect("a defect in doubt");
        let resolved = self.resolve(&id, &json!({"retry": true}));
        assert!(resolved.status < 300, "{resolved:?}");
    }

    /// Runs `jackfield defects resolve ID --retry`. `detail` is the detail of an answer with the
    /// status 409, which contains the id of the defect.
    #[track_caller]
    pub fn retry_by_cli(&self, detail: &str) {
        let words = detail.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        let id = words.into_iter().find(|word| word.len() == 36).expect("the id of the defect");
        let (succeeded, printed) = self.run_cli(&["defects", "resolve", id, "--retry"]);
        assert!(succeeded, "{printed}");
    }
}
