//! The rounds of faults: in each, somebody clicks several failed tests while one thing fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{Click, Gate, Moment, TestHost, failed_test, wait_for};
use serde_json::Value;

use super::Times;
use super::answers::{Answers, Broken, Clicker};
use super::cluster::{Cluster, Row};
use super::fault::{Fault, PlannedFault};
use super::leases;

/// How long clicks are repeated after a fault, before the next one.
const REPEAT_S: u64 = 4;
/// Number of failed tests of a round.
const TESTS: usize = 3;

/// The servers under faults, and what was seen of them.
pub(super) struct Rounds {
    pub(super) cluster: Cluster,
    pub(super) answers: Answers,
    times: Times,
    tests: Vec<Value>,
    /// How often each fault came at each moment, with a row in this state. At each moment but
    /// [`Moment::Any`], a request was at the gate.
    pub(super) injected: BTreeMap<(Fault, Moment, String), u32>,
    /// How often each path was taken.
    pub(super) paths: BTreeMap<&'static str, u32>,
}

/// The paths that the faults should reach.
pub(super) const TAKEN_OVER: &str = "another server took over a lease that had ended";
pub(super) const FENCED: &str = "a server that went on was refused by the fence";
pub(super) const NOT_RENEWED: &str = "a run ended because its lease could not be renewed";
pub(super) const ADOPTED: &str = "a search found the defect of a run that was lost";
pub(super) const UNAVAILABLE: &str = "503 while the database was away";
pub(super) const NOT_READY: &str = "a server that was cut off said that it is not ready";
pub(super) const LOST_ANSWER: &str = "the answer to a write was lost or replaced";
pub(super) const OVERTAKEN: &str = "a server went on while another one created the defect";
pub(super) const PATHS: [&str; 8] =
    [TAKEN_OVER, FENCED, NOT_RENEWED, ADOPTED, UNAVAILABLE, NOT_READY, LOST_ANSWER, OVERTAKEN];

/// Ends the clicks, also if the test fails: the scope waits for them.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Rounds {
    pub(super) fn start(times: Times) -> Self {
        let cluster = Cluster::start(&times.config());
        let rounds = Self {
            cluster,
            answers: Answers::default(),
            times,
            tests: vec![failed_test()],
            injected: BTreeMap::new(),
            paths: PATHS.map(|path| (path, 0)).into(),
        };
        // The first success. Later searches look for this defect: finding it proves that they work.
        rounds.finish(&rounds.tests[0]);
        rounds
    }

    fn reached(&mut self, path: &'static str, times: usize) {
        *self.paths.entry(path).or_default() += u32::try_from(times).unwrap_or(u32::MAX);
    }

    fn clicker(&self) -> Clicker<'_> {
        Clicker::new(&self.answers, &self.cluster, self.times.client)
    }

    /// Clicks new failed tests at one server and lets it fail. Meanwhile, the clicks are repeated
    /// at all servers.
    pub(super) fn round(&mut self, planned: PlannedFault) {
        let new: Vec<_> = (0..TESTS).map(|_| failed_test()).collect();
        let gates = planned.install_gates(&self.cluster);
        let clicks = self.click_until_held(planned, &new, &gates.victim);
        let rows = self.cluster.rows(&new);
        self.count_injected(planned, &rows);

        let clicker = Clicker::new(&self.answers, &self.cluster, self.times.client);
        let (answers, times, cluster) = (&self.answers, &self.times, &mut self.cluster);
        let is_over = AtomicBool::new(false);
        let (seen, overtaken) = std::thread::scope(|scope| {
            let _end = SetOnDrop(&is_over);
            for test in &new {
                let (clicker, is_over) = (&clicker, &is_over);
                scope.spawn(move || clicker.click_until_known(planned.victim + 1, test, is_over));
            }
            let seen = planned.inject(cluster, &gates, times);
            gates.victim.open();
            let mut overtaken = 0;
            if let Some(others) = &gates.others {
                overtaken = count_overtaken(cluster, planned.victim, &rows, others);
                others.open();
            }
            for replica in &cluster.replicas {
                replica.host.await_readiness(200);
            }
            let deadline = Instant::now() + Duration::from_secs(REPEAT_S);
            wait_for("the clicks, or the end of the round", 2 * REPEAT_S, || {
                let all = new.iter().all(|test| answers.is_known(test));
                (all || Instant::now() >= deadline).then_some(())
            });
            (seen, overtaken)
        });
        self.cluster.proxy.forward_all();
        self.take_answers(planned.victim, &new, clicks);
        self.answers.check_issues(&self.cluster.project.issues(), &new, false);
        self.tests.extend(new);
        self.reached(NOT_READY, usize::from(seen.was_unready));
        self.reached(NOT_RENEWED, seen.stopped_without_database);
        self.reached(OVERTAKEN, overtaken);
        let lost = gates.lost.load(Ordering::Relaxed);
        self.reached(LOST_ANSWER, lost.try_into().unwrap_or_default());
    }

    /// Clicks the failed tests at the victim until one of its requests is at the gate.
    fn click_until_held(&self, planned: PlannedFault, tests: &[Value], gate: &Gate) -> Vec<Click> {
        let host = &self.cluster.replicas[planned.victim].host;
        let click = |test| host.create_in_background(&self.cluster.connection, test);
        let start = || tests.iter().map(click).collect::<Vec<_>>();
        if planned.moment == Moment::Any {
            let clicks = start();
            // The moment is arbitrary, so there is no event to wait for.
            std::thread::sleep(Duration::from_millis(planned.variant % 200));
            return clicks;
        }
        let seconds = self.times.client.as_secs() + 10;
        // A server that still recovers from the round before may refuse the clicks.
        wait_for("a request at the gate", 3 * seconds, || {
            let clicks = start();
            wait_for("a request at the gate, or all answers", seconds, || {
                let ended = clicks.iter().all(Click::is_finished);
                (gate.held() > 0 || ended).then_some(())
            });
            if gate.held() > 0 {
                return Some(clicks);
            }
            self.take_answers(planned.victim, tests, clicks);
            None
        })
    }

    fn take_answers(&self, replica: usize, tests: &[Value], clicks: Vec<Click>) {
        for (test, click) in tests.iter().zip(clicks) {
            if let Some(answer) = click.finish() {
                self.answers.take(replica, test, &answer);
            }
        }
    }

    fn count_injected(&mut self, planned: PlannedFault, rows: &[Row]) {
        let mut states: BTreeSet<_> = rows.iter().map(|row| row.state.clone()).collect();
        if states.is_empty() {
            states.insert("no row".to_owned());
        }
        for state in states {
            *self.injected.entry((planned.fault, planned.moment, state)).or_default() += 1;
        }
    }

    /// Repeats the click until the answer is the defect. No person helps.
    fn finish(&self, test: &Value) {
        let clicker = self.clicker();
        let mut replicas = (0..self.cluster.replicas.len()).cycle();
        let seconds = self.times.longest_doubt().as_secs();
        wait_for("the defect of a failed test", seconds, || {
            let known = clicker.click(replicas.next()?, test);
            if !known {
                std::thread::sleep(Duration::from_millis(500));
            }
            (known || !self.answers.broken().is_empty()).then_some(())
        });
    }

    /// After the last round: each failed test has one issue, which is the answer of each server.
    pub(super) fn finish_all(&mut self) {
        for test in &self.tests {
            self.finish(test);
            let clicker = self.clicker();
            for replica in 0..self.cluster.replicas.len() {
                if !clicker.click(replica, test) {
                    let why = format!("server {replica} does not know {test}");
                    self.answers.add_broken(Broken::NotAnswered(why));
                }
            }
        }
        let issues = self.cluster.project.issues();
        self.answers.check_issues(&issues, &self.tests, true);
        if issues.len() != self.tests.len() {
            let (issues, tests) = (issues.len(), self.tests.len());
            let why = format!("{issues} issues of {tests} failed tests");
            self.answers.add_broken(Broken::IssueCount(why));
        }
        self.count_paths();
    }

    /// How often the fence has refused a server.
    pub(super) fn refused(&self) -> usize {
        let Cluster { postgres, replicas, .. } = &self.cluster;
        replicas.iter().map(|it| leases::refused(postgres, it.database_client())).sum()
    }

    /// Counts the paths that the database and the events show.
    fn count_paths(&mut self) {
        let taken_over = leases::taken_over(&self.cluster.postgres);
        let refused = self.refused();
        let admin = self.cluster.replicas[0].host.admin();
        let adopted = admin.get("/events?outcome=adopted&limit=200").expect(200);
        let adopted = adopted["events"].as_array().map_or(0, Vec::len);
        let unavailable = self.answers.problems().get("store-unavailable").copied();
        self.reached(TAKEN_OVER, taken_over);
        self.reached(FENCED, refused);
        self.reached(ADOPTED, adopted);
        self.reached(UNAVAILABLE, unavailable.unwrap_or_default().try_into().unwrap_or_default());
    }
}

/// How many runs a server has stopped because their lease was lost.
pub(super) fn runs_stopped(host: &TestHost) -> usize {
    let page = host.metrics(host.admin_token());
    let stopped = page.sum("jackfield_runs_total", &[("outcome", "run-stopped")]);
    stopped.map_or(0, |count| format!("{count:.0}").parse().expect("a count"))
}

/// Waits until the server that went on has ended its runs of these rows. Returns how many of them
/// ended while another server had the row's lease and its write was held at the gate.
fn count_overtaken(cluster: &Cluster, victim: usize, rows: &[Row], others: &Gate) -> usize {
    let other = (victim + 1) % cluster.replicas.len();
    let leased: Vec<_> = rows.iter().filter(|row| row.is_leased).collect();
    for row in &leased {
        wait_for("the run of the server that went on", 30, || {
            (!runs(cluster, other, &row.event).is_empty()).then_some(())
        });
    }
    let now = cluster.rows_again(&leased);
    let is_overtaken = |old: &&&Row| {
        let newer = |row: &Row| row.test == old.test && row.fence > old.fence && row.is_leased;
        now.iter().any(newer)
    };
    leased.iter().filter(is_overtaken).count().min(others.held())
}

/// The runs of an event that a server knows.
fn runs(cluster: &Cluster, replica: usize, event: &str) -> Vec<Value> {
    let answer = cluster.replicas[replica].host.admin().get(&format!("/events/{event}"));
    match answer.status {
        200 => answer.json()["runs"].as_array().cloned().unwrap_or_default(),
        _ => Vec::new(),
    }
}
