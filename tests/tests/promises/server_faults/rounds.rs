//! In each round, clicks for several failed tests arrive while one fault happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{Click, Gate, Moment, TestHost, failed_test, wait_for};
use serde_json::Value;

use super::Times;
use super::answers::{Answers, BrokenPromise, Clicker};
use super::cluster::{Cluster, Row};
use super::fault::{Fault, PlannedFault};
use super::leases;

/// Maximum time for which clicks are repeated after a fault, seconds.
const REPEAT_S: u64 = 4;
const TESTS_PER_ROUND: usize = 3;

pub(super) struct Rounds {
    pub(super) cluster: Cluster,
    pub(super) answers: Answers,
    times: Times,
    tests: Vec<Value>,
    /// How often each fault happened at each moment, by the state of the failed test's row. Unless
    /// the moment is [`Moment::Any`], a fault is counted only after the proxy has held a request of
    /// the victim, or the answer to it, at that moment.
    pub(super) fault_counts: BTreeMap<(Fault, Moment, String), u32>,
    pub(super) path_counts: BTreeMap<&'static str, u32>,
}

// The paths that all rounds together must take.
pub(super) const TAKEN_OVER: &str = "another server took over a lease that had ended";
pub(super) const FENCED: &str = "the fence refused a server after another server took its lease";
pub(super) const NOT_RENEWED: &str = "a run ended because its lease could not be renewed";
pub(super) const ADOPTED: &str = "a search found the defect of a run that was lost";
pub(super) const UNAVAILABLE: &str = "a click was answered 503 while the database was unreachable";
pub(super) const NOT_READY: &str = "a server that was cut off reported that it is not ready";
pub(super) const LOST_ANSWER: &str = "the answer to a write was lost or replaced";
pub(super) const OVERTAKEN: &str = "a suspended server went on while another created the defect";
pub(super) const PATHS: [&str; 8] =
    [TAKEN_OVER, FENCED, NOT_RENEWED, ADOPTED, UNAVAILABLE, NOT_READY, LOST_ANSWER, OVERTAKEN];

/// Sets the flag that ends the clicks, also if the test panics. Without the flag, the thread scope
/// would wait forever for the threads that click.
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
            fault_counts: BTreeMap::new(),
            path_counts: PATHS.map(|path| (path, 0)).into(),
        };
        // If the connection has other defects, the host trusts an empty result of a search only if
        // a search finds one of them. With this first defect, every later test has another defect.
        rounds.await_defect(&rounds.tests[0]);
        rounds
    }

    fn count_path(&mut self, path: &'static str, count: usize) {
        *self.path_counts.entry(path).or_default() += u32::try_from(count).unwrap_or(u32::MAX);
    }

    fn clicker(&self) -> Clicker<'_> {
        Clicker::new(&self.answers, &self.cluster, self.times.client_timeout)
    }

    /// Clicks new failed tests at one server, and injects the fault. During the fault, the clicks
    /// are repeated at all servers.
    pub(super) fn run_round(&mut self, planned: PlannedFault) {
        let new_tests: Vec<_> = (0..TESTS_PER_ROUND).map(|_| failed_test()).collect();
        let gates = planned.install_gates(&self.cluster);
        let clicks = self.click_until_held(planned, &new_tests, &gates.victim);
        let rows = self.cluster.read_rows(&new_tests);
        self.count_injected(planned, &rows);

        let clicker = Clicker::new(&self.answers, &self.cluster, self.times.client_timeout);
        let (answers, times, cluster) = (&self.answers, &self.times, &mut self.cluster);
        let is_over = AtomicBool::new(false);
        let (observed, overtaken) = std::thread::scope(|scope| {
            let _end_clicks = SetOnDrop(&is_over);
            for test in &new_tests {
                let (clicker, is_over) = (&clicker, &is_over);
                scope
                    .spawn(move || clicker.click_until_answered(planned.victim + 1, test, is_over));
            }
            let observed = planned.inject(cluster, &gates, times);
            gates.victim.open();
            let mut overtaken = 0;
            if let Some(others) = &gates.others {
                overtaken = count_overtaken(cluster, planned.victim, &rows, others);
                others.open();
            }
            for server in &cluster.servers {
                server.host.await_readiness(200);
            }
            let deadline = Instant::now() + Duration::from_secs(REPEAT_S);
            wait_for("the clicks, or the end of the round", 2 * REPEAT_S, || {
                let all_answered = new_tests.iter().all(|test| answers.has_defect_of(test));
                (all_answered || Instant::now() >= deadline).then_some(())
            });
            (observed, overtaken)
        });
        self.cluster.proxy.forward_all();
        self.add_answers(planned.victim, &new_tests, clicks);
        self.answers.check_issues(&self.cluster.project.issues(), &new_tests, false);
        self.tests.extend(new_tests);
        self.count_path(NOT_READY, usize::from(observed.was_unready));
        self.count_path(NOT_RENEWED, observed.stopped_without_database);
        self.count_path(OVERTAKEN, overtaken);
        let lost_answers = gates.lost_answers.load(Ordering::Relaxed);
        self.count_path(LOST_ANSWER, lost_answers.try_into().unwrap_or_default());
    }

    /// Clicks the failed tests at the victim until the gate holds a request of the victim, or the
    /// answer to it; for [`Moment::Any`], only once. Returns the clicks in progress.
    fn click_until_held(&self, planned: PlannedFault, tests: &[Value], gate: &Gate) -> Vec<Click> {
        let host = &self.cluster.servers[planned.victim].host;
        let click = |test| host.create_in_background(&self.cluster.connection, test);
        let click_all = || tests.iter().map(click).collect::<Vec<_>>();
        if planned.moment == Moment::Any {
            let clicks = click_all();
            // The fault may happen at any moment, so there is no request at a gate to wait for.
            std::thread::sleep(Duration::from_millis(planned.variant % 200));
            return clicks;
        }
        let seconds = self.times.client_timeout.as_secs() + 10;
        // A server that is still recovering from the last round may refuse the clicks.
        wait_for("a request at the gate", 3 * seconds, || {
            let clicks = click_all();
            wait_for("a request at the gate, or all answers", seconds, || {
                let ended = clicks.iter().all(Click::is_finished);
                (gate.arrived_count() > 0 || ended).then_some(())
            });
            if gate.arrived_count() > 0 {
                return Some(clicks);
            }
            self.add_answers(planned.victim, tests, clicks);
            None
        })
    }

    /// Ignores clicks that got no answer.
    fn add_answers(&self, server: usize, tests: &[Value], clicks: Vec<Click>) {
        for (test, click) in tests.iter().zip(clicks) {
            if let Some(answer) = click.finish() {
                self.answers.add(server, test, &answer);
            }
        }
    }

    /// Counts this fault once for each state that the rows have.
    fn count_injected(&mut self, planned: PlannedFault, rows: &[Row]) {
        let mut states: BTreeSet<_> = rows.iter().map(|row| row.state.clone()).collect();
        if states.is_empty() {
            states.insert("no row".to_owned());
        }
        for state in states {
            *self.fault_counts.entry((planned.fault, planned.moment, state)).or_default() += 1;
        }
    }

    /// Clicks at one server after another until the answer is the defect, or a promise is broken.
    fn await_defect(&self, test: &Value) {
        let clicker = self.clicker();
        let mut servers = (0..self.cluster.servers.len()).cycle();
        let seconds = self.times.max_doubt().as_secs();
        wait_for("the defect of a failed test", seconds, || {
            let is_defect = clicker.click(servers.next()?, test);
            if !is_defect {
                std::thread::sleep(Duration::from_millis(500));
            }
            (is_defect || !self.answers.broken_promises().is_empty()).then_some(())
        });
    }

    /// Checks after the last round that each failed test has one issue, and that each server
    /// answers with this issue.
    pub(super) fn check_all(&mut self) {
        for test in &self.tests {
            self.await_defect(test);
            let clicker = self.clicker();
            for server in 0..self.cluster.servers.len() {
                if !clicker.click(server, test) {
                    let description =
                        format!("server {server} does not answer with the defect of {test}");
                    self.answers.add_broken_promise(BrokenPromise::NotAnswered(description));
                }
            }
        }
        let issues = self.cluster.project.issues();
        self.answers.check_issues(&issues, &self.tests, true);
        if issues.len() != self.tests.len() {
            let (issues, tests) = (issues.len(), self.tests.len());
            let description = format!("{issues} issues of {tests} failed tests");
            self.answers.add_broken_promise(BrokenPromise::IssueCount(description));
        }
        self.count_paths();
    }

    pub(super) fn refusals(&self) -> usize {
        let Cluster { postgres, servers, .. } = &self.cluster;
        servers.iter().map(|it| leases::count_refused(postgres, it.address_at_database())).sum()
    }

    fn count_paths(&mut self) {
        let taken_over = leases::count_taken_over(&self.cluster.postgres);
        let refused = self.refusals();
        let admin = self.cluster.servers[0].host.admin();
        let adopted = admin.get("/events?outcome=adopted&limit=200").expect(200);
        let adopted = adopted["events"].as_array().map_or(0, Vec::len);
        let unavailable = self.answers.problems().get("store-unavailable").copied();
        self.count_path(TAKEN_OVER, taken_over);
        self.count_path(FENCED, refused);
        self.count_path(ADOPTED, adopted);
        self.count_path(
            UNAVAILABLE,
            unavailable.unwrap_or_default().try_into().unwrap_or_default(),
        );
    }
}

/// Returns how many runs of a server ended with the outcome `run-stopped`.
pub(super) fn count_stopped_runs(host: &TestHost) -> usize {
    let page = host.metrics(host.admin_token());
    let stopped = page.sum("jackfield_runs_total", &[("outcome", "run-stopped")]);
    stopped.map_or(0, |count| format!("{count:.0}").parse().expect("a count"))
}

/// Waits until the victim, which was suspended, has ended its runs of these rows. Returns how many
/// of these runs ended while another server had the lease of the row, but at most the number of
/// writes that the gate holds.
fn count_overtaken(cluster: &Cluster, victim: usize, rows: &[Row], others: &Gate) -> usize {
    let other = (victim + 1) % cluster.servers.len();
    let leased: Vec<_> = rows.iter().filter(|row| row.is_leased).collect();
    for row in &leased {
        wait_for("the run of the server that was suspended", 30, || {
            (!runs_of_event(cluster, other, &row.event).is_empty()).then_some(())
        });
    }
    let current_rows = cluster.reread_rows(&leased);
    let is_overtaken = |old_row: &&&Row| {
        let is_newer =
            |row: &Row| row.test == old_row.test && row.fence > old_row.fence && row.is_leased;
        current_rows.iter().any(is_newer)
    };
    leased.iter().filter(is_overtaken).count().min(others.arrived_count())
}

fn runs_of_event(cluster: &Cluster, server: usize, event: &str) -> Vec<Value> {
    let answer = cluster.servers[server].host.admin().get(&format!("/events/{event}"));
    match answer.status {
        200 => answer.json()["runs"].as_array().cloned().unwrap_or_default(),
        _ => Vec::new(),
    }
}
