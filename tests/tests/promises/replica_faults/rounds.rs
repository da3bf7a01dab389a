//! The rounds of faults: in each, somebody clicks several failed tests while one thing fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{Click, Client, Gate, MetricsPage, failed_test, wait_for};
use serde_json::Value;

use super::Times;
use super::answers::{Answers, Clicker};
use super::cluster::{Cluster, Replica, Row};
use super::fault::{Fault, Moment, PlannedFault};

/// How long clicks are repeated after a fault, before the next one.
const SETTLE_S: u64 = 4;
/// Number of failed tests of a round.
const TESTS: usize = 3;

/// The servers under faults, and what was seen of them.
pub(super) struct Rounds {
    pub(super) cluster: Cluster,
    pub(super) answers: Answers,
    times: Times,
    tests: Vec<Value>,
    /// The rows on which a server had a lease when it failed.
    leased: Vec<Row>,
    /// How often each fault came at each moment, with a row in this state.
    pub(super) struck: BTreeMap<(Fault, Moment, String), u32>,
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

impl Rounds {
    pub(super) fn start(times: Times) -> Self {
        let cluster = Cluster::start(&times.config());
        let rounds = Self {
            cluster,
            answers: Answers::default(),
            times,
            tests: vec![failed_test()],
            leased: Vec::new(),
            struck: BTreeMap::new(),
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
        let (host, connection) =
            (&self.cluster.replicas[planned.victim].host, &self.cluster.connection);
        let clicks: Vec<_> =
            new.iter().map(|test| host.create_in_background(connection, test)).collect();
        match planned.moment {
            // The moment is arbitrary, so there is no event to wait for.
            Moment::Any => std::thread::sleep(Duration::from_millis(planned.variant % 200)),
            // A server that still recovers from the round before may refuse the clicks.
            _ => wait_for("a request at the gate, or all answers", 2 * SETTLE_S, || {
                let ended = clicks.iter().all(Click::is_finished);
                (gates.victim.held() > 0 || ended).then_some(())
            }),
        }
        let rows = self.cluster.rows(&new);
        for state in rows.iter().map(|row| row.state.clone()).collect::<BTreeSet<_>>() {
            *self.struck.entry((planned.fault, planned.moment, state)).or_default() += 1;
        }

        let stopped_before = self.runs_stopped(planned.victim);
        let clicker = Clicker::new(&self.answers, &self.cluster, self.times.client);
        let (answers, times, cluster) = (&self.answers, &self.times, &mut self.cluster);
        let is_over = AtomicBool::new(false);
        let was_unready = std::thread::scope(|scope| {
            for test in &new {
                let (clicker, is_over) = (&clicker, &is_over);
                scope.spawn(move || clicker.click_until_known(planned.victim + 1, test, is_over));
            }
            let was_unready = planned.strike(cluster, &gates, times);
            gates.victim.open();
            if planned.is_overtaken() {
                await_end_of_runs(cluster, planned.victim, &rows);
            }
            gates.others.iter().for_each(Gate::open);
            cluster.replicas.iter().for_each(Replica::await_ready);
            let deadline = Instant::now() + Duration::from_secs(SETTLE_S);
            wait_for("the clicks, or the end of the round", 2 * SETTLE_S, || {
                let all = new.iter().all(|test| answers.is_known(test));
                (all || Instant::now() >= deadline).then_some(())
            });
            is_over.store(true, Ordering::Relaxed);
            was_unready
        });
        self.cluster.proxy.forward_all();
        for (test, click) in new.iter().zip(clicks) {
            if let Some(answer) = click.finish() {
                self.answers.take(planned.victim, test, &answer);
            }
        }
        self.answers.check_issues(&self.cluster.project.issues(), &new, false);
        self.tests.extend(new);
        self.reached(NOT_READY, usize::from(was_unready));
        self.reached(OVERTAKEN, usize::from(planned.is_overtaken()));
        let lost = gates.lost.load(Ordering::Relaxed);
        self.reached(LOST_ANSWER, lost.try_into().unwrap_or_default());
        let leased = rows.into_iter().filter(|row| row.is_leased);
        self.leased.extend(leased);
        // A server that is killed counts from zero.
        let stopped = self.runs_stopped(planned.victim).saturating_sub(stopped_before);
        match planned.fault {
            Fault::Suspend => self.reached(FENCED, stopped),
            Fault::CutFromDatabase => self.reached(NOT_RENEWED, stopped),
            _ => {}
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
                    self.answers.add_broken(format!("server {replica} does not know {test}"));
                }
            }
        }
        let issues = self.cluster.project.issues();
        self.answers.check_issues(&issues, &self.tests, true);
        if issues.len() != self.tests.len() {
            let (issues, tests) = (issues.len(), self.tests.len());
            self.answers.add_broken(format!("{issues} issues of {tests} failed tests"));
        }
        self.count_paths();
    }

    /// Counts the paths that the rows and the events show.
    fn count_paths(&mut self) {
        let rows = self.cluster.rows(&self.tests);
        let has_newer_fence =
            |old: &&Row| rows.iter().any(|row| row.test == old.test && row.fence > old.fence);
        let taken_over = self.leased.iter().filter(has_newer_fence).count();
        let admin = self.cluster.replicas[0].host.admin();
        let adopted = admin.get("/events?outcome=adopted&limit=200").expect(200);
        let adopted = adopted["events"].as_array().map_or(0, Vec::len);
        let unavailable = self.answers.problems().get("store-unavailable").copied();
        self.reached(TAKEN_OVER, taken_over);
        self.reached(ADOPTED, adopted);
        self.reached(UNAVAILABLE, unavailable.unwrap_or_default().try_into().unwrap_or_default());
    }

    /// How many runs of a server were stopped because their lease was lost.
    fn runs_stopped(&self, replica: usize) -> usize {
        let host = &self.cluster.replicas[replica].host;
        let bearer = format!("Bearer {}", host.admin_token());
        let client = Client::new(host.url(), &[("authorization", &bearer)]);
        let page = MetricsPage::read(&client.get("/metrics"));
        let stopped = page.sum("jackfield_runs_total", &[("outcome", "run-stopped")]);
        stopped.map_or(0, |count| format!("{count:.0}").parse().expect("a count"))
    }
}

/// Waits until the server that went on has ended its runs of these rows.
fn await_end_of_runs(cluster: &Cluster, victim: usize, rows: &[Row]) {
    let other = (victim + 1) % cluster.replicas.len();
    let leased = rows.iter().filter(|row| row.is_leased);
    for row in leased {
        wait_for("the run of the server that went on", 30, || {
            (!runs(cluster, other, &row.event).is_empty()).then_some(())
        });
    }
}

/// The runs of an event that a server knows.
fn runs(cluster: &Cluster, replica: usize, event: &str) -> Vec<Value> {
    let answer = cluster.replicas[replica].host.admin().get(&format!("/events/{event}"));
    match answer.status {
        200 => answer.json()["runs"].as_array().cloned().unwrap_or_default(),
        _ => Vec::new(),
    }
}
