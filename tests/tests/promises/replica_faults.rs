//! Three servers on one PostgreSQL, with a real Redmine, under faults: servers that are killed or
//! stopped for longer than their lease, a database that crashes, links that are down, clocks that
//! differ by hours, answers that are lost. Each failed test has one issue, each server answers with
//! it, and no person has to help. Without the fence, the same rounds make a second issue.

mod answers;
mod cluster;
mod fault;
mod lost_claim;
mod rounds;

use std::time::Duration;

use jackfield_tests::{is_long, run_in_own_network};

use cluster::{DATABASE, TRACKER};
use fault::{FAULTS, Fault, MOMENTS, Moment, PlannedFault};
use rounds::{PATHS, Rounds};

/// Number of rounds of the long test.
const LONG_ROUNDS: usize = 200;
/// The rounds of the short test: each path is taken.
const SHORT: [(Fault, Moment); 13] = [
    (Fault::Suspend, Moment::BeforeWrite),
    (Fault::KillServer, Moment::AnswerInFlight),
    (Fault::CutFromDatabase, Moment::BeforeWrite),
    (Fault::KillDatabase, Moment::Any),
    (Fault::CutFromTracker, Moment::WriteInFlight),
    (Fault::LoseAnswer, Moment::Any),
    (Fault::KillServer, Moment::WriteInFlight),
    (Fault::Suspend, Moment::AnswerInFlight),
    (Fault::SetClock, Moment::WriteInFlight),
    (Fault::KillDatabase, Moment::AnswerInFlight),
    (Fault::CutFromDatabase, Moment::AnswerInFlight),
    (Fault::KillServer, Moment::BeforeWrite),
    (Fault::CutFromTracker, Moment::AnswerInFlight),
];
/// The variable with the number that decides what varies; without it, the time does.
const SEED: &str = "TEST_SEED";

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

/// Numbers that a seed decides (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or_default()
    }
}

/// Returns the seed, and prints it.
fn seed() -> u64 {
    let given = std::env::var(SEED).ok().and_then(|text| text.parse().ok());
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let seed = given.unwrap_or_else(now);
    println!("{SEED}={seed}");
    seed
}

/// All faults at all moments, in a new order again and again.
fn long_plan(numbers: &mut Numbers) -> Vec<(Fault, Moment)> {
    let mut plan = Vec::new();
    while plan.len() < LONG_ROUNDS {
        let mut all: Vec<_> =
            FAULTS.iter().flat_map(|fault| MOMENTS.map(|moment| (*fault, moment))).collect();
        while !all.is_empty() && plan.len() < LONG_ROUNDS {
            plan.push(all.swap_remove(numbers.below(all.len())));
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
    let mut numbers = Numbers(seed());
    let (plan, times) = match is_long() {
        true => (long_plan(&mut numbers), Times::LONG),
        false => (SHORT.to_vec(), Times::SHORT),
    };
    let mut rounds = Rounds::start(times);
    for (number, (fault, moment)) in (1..).zip(&plan) {
        let planned = PlannedFault {
            fault: *fault,
            moment: *moment,
            victim: numbers.below(3),
            variant: numbers.next() >> 8,
        };
        println!("round {number}: {planned:?}");
        rounds.round(planned);
        assert_eq!(rounds.answers.broken(), [""; 0], "after round {number}");
    }
    rounds.finish_all();
    println!("{} rounds; faults, moments and states of rows: {:?}", plan.len(), rounds.struck);
    println!("answers without a defect: {:?}", rounds.answers.problems());
    println!("paths: {:#?}", rounds.paths);
    assert_eq!(rounds.answers.broken(), [""; 0]);
    for path in PATHS {
        assert_ne!(rounds.paths.get(path), Some(&0), "not reached: {path}");
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
    let (fault, moment) = (Fault::Suspend, Moment::BeforeWrite);
    let planned = PlannedFault { fault, moment, victim: 0, variant: 1 };
    rounds.round(planned);
    assert_eq!(rounds.answers.broken(), [""; 0]);
    rounds.cluster.remove_fence();
    rounds.round(planned);
    let broken = rounds.answers.broken();
    println!("{broken:#?}");
    assert!(broken.iter().any(|it| it.contains("has the issues")), "the fence is not needed");
}
