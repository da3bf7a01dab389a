//! Three servers on one PostgreSQL, with a real Redmine, under faults: servers that are killed or
//! stopped for longer than their lease, a database that crashes, links that are down, clocks that
//! differ by hours, answers that are lost. Each failed test has one issue, each server answers with
//! it, and no person has to help. Without the fence, the same rounds make a second issue.

mod answers;
mod cluster;
mod fault;
mod leases;
mod rounds;

use std::time::Duration;

use jackfield_tests::{Moment, Random, is_long, run_in_own_network, seed};

use answers::Broken;
use cluster::{DATABASE, TRACKER};
use fault::{FAULTS, Fault, PlannedFault, planned};
use rounds::{PATHS, Rounds};

/// Number of rounds of the long test.
const LONG_ROUNDS: usize = 200;
/// The rounds of the short test: each path is taken.
const SHORT: [PlannedFault; 13] = [
    planned(Fault::Suspend, Moment::BeforeWrite, 0, 1),
    // It starts again after its leases have ended.
    planned(Fault::KillServer, Moment::AnswerInFlight, 1, 300),
    planned(Fault::CutFromDatabase, Moment::BeforeWrite, 2, 200),
    planned(Fault::KillDatabase, Moment::Any, 0, 1_100),
    // The tracker gets the write late.
    planned(Fault::CutFromTracker, Moment::WriteInFlight, 1, 701),
    planned(Fault::LoseAnswer, Moment::Any, 2, 104),
    planned(Fault::KillServer, Moment::WriteInFlight, 0, 301),
    planned(Fault::Suspend, Moment::AnswerInFlight, 2, 900),
    planned(Fault::SetClock, Moment::WriteInFlight, 1, 501),
    planned(Fault::KillDatabase, Moment::AnswerInFlight, 2, 1_300),
    planned(Fault::CutFromDatabase, Moment::AnswerInFlight, 0, 1_100),
    planned(Fault::KillServer, Moment::BeforeWrite, 2, 602),
    // The tracker's answer arrives late.
    planned(Fault::CutFromTracker, Moment::AnswerInFlight, 1, 400),
];

/// How long things last.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The lease (`lease_ms`).
    lease: Duration,
    /// The maximum of a run (`run_ms`).
    run: Duration,
    /// How long the tracker may still act on a request (`create.in_doubt_s`). A link that was down
    /// delivers late what was sent over it.
    in_doubt: Duration,
    /// How long a client waits for an answer.
    client: Duration,
    /// Other lines of the configuration.
    others: &'static str,
    /// The last lines, which are in tables.
    tables: &'static str,
}

impl Times {
    /// The default lease, and the other defaults, except for the wait.
    const LONG: Self = Self {
        lease: Duration::from_secs(30),
        run: Duration::from_secs(120),
        in_doubt: Duration::from_secs(120),
        client: Duration::from_secs(27),
        others: "",
        tables: "",
    };
    const SHORT: Self = Self {
        lease: Duration::from_secs(2),
        run: Duration::from_secs(6),
        in_doubt: Duration::from_secs(10),
        client: Duration::from_secs(4),
        others: "lease_ms = 2000\nsweep_ms = 500\nstore_statement_s = 2\nstore_connect_s = 2\n",
        tables: "[limits]\nrun_ms = 6000\ncreate_answer_ms = 3000\n",
    };

    fn config(&self) -> String {
        let in_doubt_s = self.in_doubt.as_secs();
        format!("{}[create]\nin_doubt_s = {in_doubt_s}\n{}", self.others, self.tables)
    }

    /// How long a failed test may be in doubt after the last fault.
    fn longest_doubt(&self) -> Duration {
        self.lease + self.run + self.in_doubt + Duration::from_secs(60)
    }
}

/// All faults at all moments, in a new order again and again.
fn long_plan() -> Vec<PlannedFault> {
    let (mut random, mut plan) = (Random::new(seed()), Vec::new());
    while plan.len() < LONG_ROUNDS {
        let mut all: Vec<_> =
            FAULTS.iter().flat_map(|fault| Moment::ALL.map(|moment| (*fault, moment))).collect();
        while !all.is_empty() && plan.len() < LONG_ROUNDS {
            let (fault, moment) = all.swap_remove(random.below(all.len()));
            plan.push(planned(fault, moment, random.below(3), random.number() >> 8));
        }
    }
    plan
}

#[test]
fn faults_of_servers_and_networks_make_no_second_issue_and_lose_none() {
    let name = "replica_faults::faults_of_servers_and_networks_make_no_second_issue_and_lose_none";
    if !run_in_own_network(name, &[TRACKER, DATABASE]) {
        return;
    }
    let (plan, times) = match is_long() {
        true => (long_plan(), Times::LONG),
        false => (SHORT.to_vec(), Times::SHORT),
    };
    let mut rounds = Rounds::start(times);
    for (number, planned) in (1..).zip(&plan) {
        println!("round {number}: {planned:?}");
        rounds.round(*planned);
        assert_eq!(rounds.answers.broken(), [], "after round {number}");
    }
    rounds.finish_all();
    println!("{} rounds; faults, moments and states of rows: {:?}", plan.len(), rounds.injected);
    println!("answers without a defect: {:?}", rounds.answers.problems());
    println!("paths: {:#?}", rounds.paths);
    assert_eq!(rounds.answers.broken(), []);
    for path in PATHS {
        assert_ne!(rounds.paths.get(path), Some(&0), "not reached: {path}");
    }
    for planned in &plan {
        let pair = (planned.fault, planned.moment);
        let injected = rounds.injected.keys().any(|(fault, moment, _)| (*fault, *moment) == pair);
        assert!(injected, "no request was at the gate: {planned:?}");
    }
}

/// A server goes on after its lease has ended and while another one creates the defect. In the
/// first round the fence refuses it, in the second round there is none.
#[test]
fn without_the_fence_a_server_that_was_stopped_makes_a_second_issue() {
    let name = "replica_faults::without_the_fence_a_server_that_was_stopped_makes_a_second_issue";
    if !run_in_own_network(name, &[TRACKER, DATABASE]) {
        return;
    }
    let mut rounds = Rounds::start(Times::SHORT);
    let planned = planned(Fault::Suspend, Moment::BeforeWrite, 0, 1);
    rounds.round(planned);
    assert_eq!(rounds.answers.broken(), []);
    let refused = rounds.refused();
    assert_ne!(refused, 0, "the server that went on was not refused");
    rounds.cluster.remove_fence();
    rounds.round(planned);
    assert_eq!(rounds.refused(), refused, "there is still a fence");
    let broken = rounds.answers.broken();
    println!("{broken:#?}");
    let is_second = |it: &Broken| matches!(it, Broken::SecondIssue(_));
    assert!(broken.iter().any(is_second), "the fence is not needed");
}
