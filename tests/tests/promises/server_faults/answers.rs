//! Collects the servers' answers to clicks, and checks that they agree with each other and with the
//! tracker.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jackfield_tests::{Answer, Client, Issue};
use serde_json::Value;

use super::cluster::{Cluster, execution_id};

const REPEAT_PAUSE: Duration = Duration::from_millis(250);

/// The defects, problems and broken promises in all answers so far. A broken promise is collected
/// and does not end the test at once, because one test expects a broken promise.
#[derive(Default)]
pub(super) struct Answers(Mutex<Collected>);

#[derive(Default)]
struct Collected {
    /// The first answer with status 200 for each failed test, by the id of its test execution.
    defects: HashMap<String, Value>,
    /// How often each problem with the status 503 or 504 was answered, by its code.
    problems: BTreeMap<String, u32>,
    broken_promises: Vec<BrokenPromise>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BrokenPromise {
    /// A failed test has more than one issue.
    SecondIssue(String),
    /// A failed test has no issue, although a server answered with an issue, or although all rounds
    /// are over.
    Lost(String),
    /// A server answered with a defect other than an earlier answer or the issue in the tracker.
    AnswerChanged(String),
    /// An answer is neither the defect nor a temporary refusal (503 or 504).
    UnexpectedAnswer(String),
    /// After all rounds, a server does not answer with the defect.
    NotAnswered(String),
    /// After all rounds, the tracker has more or fewer issues than there are failed tests.
    IssueCount(String),
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an answer of a server. Returns whether the answer is the defect.
    pub(super) fn add(&self, server: usize, test: &Value, answer: &Answer) -> bool {
        let mut collected = self.lock();
        match answer.status {
            200 => {
                let first = collected
                    .defects
                    .entry(execution_id(test).to_owned())
                    .or_insert_with(|| answer.json());
                if *first != answer.json() {
                    let description =
                        format!("server {server} answered {} after {first}", answer.body);
                    collected.broken_promises.push(BrokenPromise::AnswerChanged(description));
                }
            }
            503 | 504 => {
                let kind = answer.json()["type"].as_str().unwrap_or_default().to_owned();
                let code = kind.rsplit('/').next().unwrap_or_default().to_owned();
                *collected.problems.entry(code).or_default() += 1;
            }
            status => {
                let description =
                    format!("server {server} answered {status} {} to {test}", answer.body);
                collected.broken_promises.push(BrokenPromise::UnexpectedAnswer(description));
            }
        }
        answer.status == 200
    }

    pub(super) fn add_broken_promise(&self, broken: BrokenPromise) {
        self.lock().broken_promises.push(broken);
    }

    pub(super) fn has_defect_of(&self, test: &Value) -> bool {
        self.lock().defects.contains_key(execution_id(test))
    }

    pub(super) fn broken_promises(&self) -> Vec<BrokenPromise> {
        self.lock().broken_promises.clone()
    }

    pub(super) fn problems(&self) -> BTreeMap<String, u32> {
        self.lock().problems.clone()
    }

    /// Checks that no failed test has a second issue, and that an answered test has the issue of
    /// the answer. After all rounds (`is_over`), each failed test must have an issue and an answer.
    pub(super) fn check_issues(&self, issues: &[Issue], tests: &[Value], is_over: bool) {
        for test in tests {
            let issue_ids: Vec<_> =
                issues.iter().filter(|it| it.is_about(test)).map(|it| it.id.as_str()).collect();
            let first_answer = self.lock().defects.get(execution_id(test)).cloned();
            let answered_id =
                first_answer.as_ref().and_then(|first_answer| first_answer["id"].as_str());
            let broken = match (&issue_ids[..], answered_id) {
                ([] | [_], None) if !is_over => continue,
                ([only], Some(answered_id)) if *only == answered_id => continue,
                ([], _) => BrokenPromise::Lost,
                ([_], None) => BrokenPromise::NotAnswered,
                ([_], Some(_)) => BrokenPromise::AnswerChanged,
                ([_, _, ..], _) => BrokenPromise::SecondIssue,
            };
            let description =
                format!("{test} has the issues {issue_ids:?}, and the answer {answered_id:?}");
            self.add_broken_promise(broken(description));
        }
    }
}

pub(super) struct Clicker<'a> {
    answers: &'a Answers,
    clients: Vec<Client>,
    path: String,
}

impl<'a> Clicker<'a> {
    /// A click waits at most `timeout` for its answer.
    pub(super) fn new(answers: &'a Answers, cluster: &Cluster, timeout: Duration) -> Self {
        let client = |url: &String| Client::with_timeout(url, &[], timeout);
        let clients = cluster.urls().iter().map(client).collect();
        Self { answers, clients, path: cluster.connection.create_path() }
    }

    /// Clicks once. Returns whether the answer is the defect.
    pub(super) fn click(&self, server: usize, test: &Value) -> bool {
        let headers = [("content-type", "application/json")];
        let body = test.to_string();
        let client = &self.clients[server];
        let answer = client.attempt("POST", &self.path, &headers, body.as_bytes());
        answer.is_some_and(|answer| self.answers.add(server, test, &answer))
    }

    /// Clicks at one server after another until a server answers with the defect. Then clicks once
    /// at each other server. Ends early if `is_over` is set.
    pub(super) fn click_until_answered(&self, first: usize, test: &Value, is_over: &AtomicBool) {
        let count = self.clients.len();
        for server in (first..).map(|turn| turn % count) {
            if self.click(server, test) {
                for other in (1..count).map(|next| (server + next) % count) {
                    self.click(other, test);
                }
                return;
            }
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(REPEAT_PAUSE);
        }
    }
}
