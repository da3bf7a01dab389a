//! Runs the stand-in for Test Manager as a child process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{Answer, Client, binary};

/// A running stand-in for Test Manager. Dropping this value kills the stand-in.
pub struct SimulatedTestManager {
    child: Child,
    start_output: Value,
}

impl SimulatedTestManager {
    /// Starts `jackfield simulate test-manager` with these arguments, on a free port.
    #[must_use]
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["--json", "simulate", "test-manager", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut printed = String::new();
        for line in lines.map_while(Result::ok) {
            printed += &line;
            if line == "}" {
                break;
            }
        }
        let start_output = serde_json::from_str(&printed);
        Self { child, start_output: start_output.unwrap_or_else(|e| panic!("{e}: {printed:?}")) }
    }

    /// Returns a field of the JSON that the stand-in printed at its start, such as `base_url`.
    #[must_use]
    #[track_caller]
    pub fn printed_field(&self, member: &str) -> &str {
        let value = self.start_output[member].as_str();
        value.unwrap_or_else(|| panic!("no {member} in {}", self.start_output))
    }

    /// Returns a client of the stand-in's pages, and of the paths below `/simulator`.
    #[must_use]
    pub fn page(&self) -> Client {
        Client::new(self.printed_field("page_url").trim_end_matches('/'), &[])
    }

    /// Requests a token with the credentials that the stand-in printed. `changes` replaces fields
    /// of this request's form, or adds fields.
    #[track_caller]
    pub fn request_token(&self, changes: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", self.printed_field("client_id")),
            ("client_secret", self.printed_field("client_secret")),
        ];
        form.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        form.extend_from_slice(changes);
        // Only spaces are escaped, because no test uses a value with another special character.
        let fields = form.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+")));
        let form = fields.collect::<Vec<_>>().join("&");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        Client::new(self.printed_field("token_url"), &[]).send(
            "POST",
            "",
            &headers,
            form.as_bytes(),
        )
    }

    /// Returns a token with these scopes. An empty text requests all available scopes.
    #[must_use]
    #[track_caller]
    pub fn token(&self, scope: &str) -> String {
        let answer = self.request_token(&[("scope", scope)]).expect(200);
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// Returns a client of the stand-in's API with a token for these scopes.
    #[must_use]
    #[track_caller]
    pub fn api(&self, scope: &str) -> Client {
        let bearer = format!("Bearer {}", self.token(scope));
        Client::new(self.printed_field("base_url"), &[("authorization", &bearer)])
    }

    /// Replaces the faults that the stand-in simulates.
    #[track_caller]
    pub fn set_faults(&self, faults: &[&str]) {
        self.page()
            .json("POST", "/simulator/faults", &json!({"faults": faults}))
            .assert_status(200);
    }

    /// Returns the failed tests of a project, the newest first. Each one has the ids `project`,
    /// `execution`, `case`, `variation` and `log`, and a `link` to the log.
    #[must_use]
    #[track_caller]
    pub fn failed_tests(&self, prefix: &str) -> Vec<Value> {
        let api = self.page().get("/simulator/api").expect(200);
        let logs = api["failed_logs"].as_array().expect("a list").iter();
        let tests: Vec<_> = logs.filter(|log| log["prefix"] == prefix).cloned().collect();
        assert!(!tests.is_empty(), "no failed test in {prefix}");
        tests
    }

    /// Returns the last requests that the stand-in's API and token endpoint have received, at most
    /// 1,000, the oldest first. Each one is a text `METHOD status path`.
    #[must_use]
    #[track_caller]
    pub fn requests(&self) -> Vec<String> {
        let answer = self.page().get("/simulator/requests").expect(200);
        let requests = answer["requests"].as_array().expect("a list").iter();
        let text =
            |request: &Value, member: &str| request[member].as_str().expect("a text").to_owned();
        let line = |request| {
            format!("{} {} {}", text(request, "method"), request["status"], text(request, "path"))
        };
        requests.map(line).collect()
    }
}

impl Drop for SimulatedTestManager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
