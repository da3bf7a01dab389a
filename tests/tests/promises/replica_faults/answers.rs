//! What the servers answer to clicks, and whether these answers agree.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jackfield_tests::{Answer, Client, Issue};
use serde_json::Value;

use super::cluster::{Cluster, id};

/// The pause before somebody repeats a click.
const PAUSE: Duration = Duration::from_millis(250);

/// All answers so far. Collects what breaks a promise instead of failing at once, so that a test
/// can show that a promise would be broken.
#[derive(Default)]
pub(super) struct Answers(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// The first answer 200 to each failed test.
    known: HashMap<String, Value>,
    /// How often each problem was the answer.
    problems: BTreeMap<String, u32>,
    broken: Vec<Broken>,
}

/// How a promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// A failed test has more than one issue.
    SecondIssue(String),
    /// A failed test has no issue, although a server answered with one or all is over.
    Lost(String),
    /// A server answered with another defect than before, or than the tracker has.
    AnswerChanged(String),
    /// An answer is not the defect, and not a refusal that ends by itself.
    UnexpectedAnswer(String),
    /// After all faults, a server does not answer with the defect.
    NotAnswered(String),
    /// After all faults, the tracker has issues of no failed test.
    IssueCount(String),
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an answer of a server; returns whether it is the defect.
    pub(super) fn take(&self, replica: usize, test: &Value, answer: &Answer) -> bool {
        let mut seen = self.lock();
        match answer.status {
            200 => {
                let first = seen.known.entry(id(test).to_owned()).or_insert_with(|| answer.json());
                if *first != answer.json() {
                    let why = format!("server {replica} answered {} after {first}", answer.body);
                    seen.broken.push(Broken::AnswerChanged(why));
                }
            }
            503 | 504 => {
                let kind = answer.json()["type"].as_str().unwrap_or_default().to_owned();
                let code = kind.rsplit('/').next().unwrap_or_default().to_owned();
                *seen.problems.entry(code).or_default() += 1;
            }
            status => {
                let why = format!("server {replica} answered {status} {} to {test}", answer.body);
                seen.broken.push(Broken::UnexpectedAnswer(why));
            }
        }
        answer.status == 200
    }

    /// Adds a broken promise.
    pub(super) fn add_broken(&self, broken: Broken) {
        self.lock().broken.push(broken);
    }

    pub(super) fn is_known(&self, test: &Value) -> bool {
        self.lock().known.contains_key(id(test))
    }

    /// Which promises were broken.
    pub(super) fn broken(&self) -> Vec<Broken> {
        self.lock().broken.clone()
    }

    pub(super) fn problems(&self) -> BTreeMap<String, u32> {
        self.lock().problems.clone()
    }

    /// Checks that no failed test has a second issue and, if all is over, that each has one and
    /// that it is the answer.
    pub(super) fn check_issues(&self, issues: &[Issue], tests: &[Value], is_over: bool) {
        for test in tests {
            let of_test: Vec<_> =
                issues.iter().filter(|it| it.is_of(test)).map(|it| it.id.as_str()).collect();
            let known = self.lock().known.get(id(test)).cloned();
            let answered = known.as_ref().and_then(|known| known["id"].as_str());
            let broken = match (&of_test[..], answered) {
                ([] | [_], None) if !is_over => continue,
                ([only], Some(answered)) if *only == answered => continue,
                ([], _) => Broken::Lost,
                ([_], None) => Broken::NotAnswered,
                ([_], Some(_)) => Broken::AnswerChanged,
                ([_, _, ..], _) => Broken::SecondIssue,
            };
            let why = format!("{test} has the issues {of_test:?}, and the answer {answered:?}");
            self.add_broken(broken(why));
        }
    }
}

/// Somebody who clicks at the servers in turn.
pub(super) struct Clicker<'a> {
    answers: &'a Answers,
    clients: Vec<Client>,
    path: String,
}

impl<'a> Clicker<'a> {
    /// Waits this long for each answer.
    pub(super) fn new(answers: &'a Answers, cluster: &Cluster, timeout: Duration) -> Self {
        let client = |url: &String| Client::with_timeout(url, &[], timeout);
        let clients = cluster.urls().iter().map(client).collect();
        Self { answers, clients, path: cluster.connection.create_path() }
    }

    /// Clicks once; returns whether the answer is the defect. Without an answer it returns false.
    pub(super) fn click(&self, replica: usize, test: &Value) -> bool {
        let headers = [("content-type", "application/json")];
        let body = test.to_string();
        let client = &self.clients[replica];
        let answer = client.attempt("POST", &self.path, &headers, body.as_bytes());
        answer.is_some_and(|answer| self.answers.take(replica, test, &answer))
    }

    /// Clicks at the servers in turn until one answers with the defect, then at the others. Ends
    /// early once `is_over`.
    pub(super) fn click_until_known(&self, first: usize, test: &Value, is_over: &AtomicBool) {
        let count = self.clients.len();
        for replica in (first..).map(|turn| turn % count) {
            if self.click(replica, test) {
                for other in (1..count).map(|next| (replica + next) % count) {
                    self.click(other, test);
                }
                return;
            }
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}
