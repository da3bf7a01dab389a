//! Three servers share a PostgreSQL database and a real Redmine while servers, the database, the
//! network, clocks or answers fail. Each failed test gets one issue, each server answers with this
//! issue, and no person has to help.

mod answers;
mod cluster;
mod fault;
mod leases;
mod rounds;

use std::time::Duration;

use jackfield_tests::{Moment, Random, is_long, run_in_own_network, seed};

use answers::BrokenPromise;
use cluster::{DATABASE_ADDRESS, TRACKER_ADDRESS};
use fault::{FAULTS, Fault, PlannedFault, plan_fault};
use rounds::{PATHS, Rounds};

const LONG_ROUNDS: usize = 200;
/// The faults of the short test, one for each round. The rounds together take each path of `PATHS`.
const SHORT_PLAN: [PlannedFault; 13] = [
    plan_fault(Fault::Suspend, Moment::BeforeWrite, 0, 1),
    // The server starts again after its leases have ended.
    plan_fault(Fault::KillServer, Moment::AnswerInFlight, 1, 300),
    plan_fault(Fault::CutFromDatabase, Moment::BeforeWrite, 2, 200),
    plan_fault(Fault::KillDatabase, Moment::Any, 0, 1_100),
    // The tracker receives the write late.
    plan_fault(Fault::CutFromTracker, Moment::WriteInFlight, 1, 701),
    plan_fault(Fault::LoseAnswer, Moment::Any, 2, 104),
    plan_fault(Fault::KillServer, Moment::WriteInFlight, 0, 301),
    plan_fault(Fault::Suspend, Moment::AnswerInFlight, 2, 900),
    plan_fault(Fault::SetClock, Moment::WriteInFlight, 1, 501),
    plan_fault(Fault::KillDatabase, Moment::AnswerInFlight, 2, 1_300),
    plan_fault(Fault::CutFromDatabase, Moment::AnswerInFlight, 0, 1_100),
    plan_fault(Fault::KillServer, Moment::BeforeWrite, 2, 602),
    // The tracker's answer arrives late.
    plan_fault(Fault::CutFromTracker, Moment::AnswerInFlight, 1, 400),
];

/// The times of the servers' configuration, and of the clients.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The lease (`lease_ms`).
    lease: Duration,
    /// The maximum duration of a run (`run_ms`).
    run: Duration,
    /// How long after a write the tracker may still create the record (`create.in_doubt_s`).
    in_doubt: Duration,
    /// How long a client waits for an answer.
    client_timeout: Duration,
    /// Other lines of the configuration, before its tables.
    other_lines: &'static str,
    /// The last lines of the configuration: its other tables.
    tables: &'static str,
}

impl Times {
    /// The defaults of the configuration, except for `create.in_doubt_s`.
    const LONG: Self = Self {
        lease: Duration::from_secs(30),
        run: Duration::from_secs(120),
        in_doubt: Duration::from_secs(120),
        client_timeout: Duration::from_secs(27),
        other_lines: "",
        tables: "",
    };
    /// Shorter times, so that the short test ends sooner.
    const SHORT: Self = Self {
        lease: Duration::from_secs(2),
        run: Duration::from_secs(6),
        in_doubt: Duration::from_secs(10),
        client_timeout: Duration::from_secs(4),
        other_lines: "lease_ms = 2000\nsweep_ms = 500\nstore_statement_s = 2\nstore_connect_s = 2\n",
        tables: "[limits]\nrun_ms = 6000\ncreate_answer_ms = 3000\n",
    };

    fn config(&self) -> String {
        let in_doubt_s = self.in_doubt.as_secs();
        format!("{}[create]\nin_doubt_s = {in_doubt_s}\n{}", self.other_lines, self.tables)
    }

    /// Returns how long a defect may be in doubt after the last fault.
    fn max_doubt(&self) -> Duration {
        self.lease + self.run + self.in_doubt + Duration::from_secs(60)
    }
}

/// Returns the faults of the long test, one for each round. All pairs of a fault and a moment
/// happen, in a random order, before a pair is repeated.
fn long_plan() -> Vec<PlannedFault> {
    let (mut random, mut plan) = (Random::new(seed()), Vec::new());
    while plan.len() < LONG_ROUNDS {
        let mut pairs: Vec<_> =
            FAULTS.iter().flat_map(|fault| Moment::ALL.map(|moment| (*fault, moment))).collect();
        while !pairs.is_empty() && plan.len() < LONG_ROUNDS {
            let (fault, moment) = pairs.swap_remove(random.below(pairs.len()));
            plan.push(plan_fault(fault, moment, random.below(3), random.number() >> 8));
        }
    }
    plan
}

#[test]
fn faults_of_servers_and_networks_create_no_second_issue_and_lose_no_issue() {
    let name =
        "server_faults::faults_of_servers_and_networks_create_no_second_issue_and_lose_no_issue";
    if !run_in_own_network(name, &[TRACKER_ADDRESS, DATABASE_ADDRESS]) {
        return;
    }
    let (plan, times) = match is_long() {
        true => (long_plan(), Times::LONG),
        false => (SHORT_PLAN.to_vec(), Times::SHORT),
    };
    let mut rounds = Rounds::start(times);
    for (number, planned) in (1..).zip(&plan) {
        println!("round {number}: {planned:?}");
        rounds.run_round(*planned);
        assert_eq!(rounds.answers.broken_promises(), [], "after round {number}");
    }
    rounds.check_all();
    println!(
        "{} rounds; faults, moments and states of rows: {:?}",
        plan.len(),
        rounds.fault_counts
    );
    println!("answers without a defect: {:?}", rounds.answers.problems());
    println!("paths: {:#?}", rounds.path_counts);
    assert_eq!(rounds.answers.broken_promises(), []);
    for path in PATHS {
        assert_ne!(rounds.path_counts.get(path), Some(&0), "no round took the path: {path}");
    }
    for planned in &plan {
        let fault_and_moment = (planned.fault, planned.moment);
        let was_injected = rounds
            .fault_counts
            .keys()
            .any(|(fault, moment, _)| (*fault, *moment) == fault_and_moment);
        assert!(was_injected, "the gate held no request: {planned:?}");
    }
}

/// In the first round, the fence prevents the write of the suspended server. The second round runs
/// without the fence.
#[test]
fn without_the_fence_a_server_that_was_suspended_creates_a_second_issue() {
    let name =
        "server_faults::without_the_fence_a_server_that_was_suspended_creates_a_second_issue";
    if !run_in_own_network(name, &[TRACKER_ADDRESS, DATABASE_ADDRESS]) {
        return;
    }
    let mut rounds = Rounds::start(Times::SHORT);
    let planned = plan_fault(Fault::Suspend, Moment::BeforeWrite, 0, 1);
    rounds.run_round(planned);
    assert_eq!(rounds.answers.broken_promises(), []);
    let refused = rounds.refusals();
    assert_ne!(refused, 0, "the fence did not refuse the server that went on");
    rounds.cluster.remove_fence();
    rounds.run_round(planned);
    assert_eq!(rounds.refusals(), refused, "there is still a fence");
    let broken = rounds.answers.broken_promises();
    println!("{broken:#?}");
    let is_second = |it: &BrokenPromise| matches!(it, BrokenPromise::SecondIssue(_));
    assert!(broken.iter().any(is_second), "no second issue was created without the fence");
}
