//! Injects one fault of a server, its database or its network, at a moment of a create.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jackfield_tests::{Exchange, Gate, Moment, Reply, Response};

use super::Times;
use super::cluster::{Cluster, TO_DATABASE, TO_TRACKER};
use super::rounds::count_stopped_runs;

/// What fails. In the comments of the faults, "the server" is the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL ends the server.
    KillServer,
    /// PostgreSQL is killed and started again.
    KillDatabase,
    /// The server's link to PostgreSQL is down for longer than a lease.
    CutFromDatabase,
    /// The server's link to Redmine is down for longer than a lease.
    CutFromTracker,
    /// SIGSTOP stops the server for longer than a lease.
    Suspend,
    /// The server's clock steps by one or two hours.
    SetClock,
    /// The tracker's answer to the server's write is lost, or replaced.
    LoseAnswer,
}

pub(super) const FAULTS: [Fault; 7] = [
    Fault::KillServer,
    Fault::KillDatabase,
    Fault::CutFromDatabase,
    Fault::CutFromTracker,
    Fault::Suspend,
    Fault::SetClock,
    Fault::LoseAnswer,
];

#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedFault {
    pub(super) fault: Fault,
    pub(super) moment: Moment,
    /// The index of the server that gets the clicks before the fault.
    pub(super) victim: usize,
    /// A number from which the length of the fault and other details follow.
    pub(super) variant: u64,
}

pub(super) const fn plan_fault(
    fault: Fault,
    moment: Moment,
    victim: usize,
    variant: u64,
) -> PlannedFault {
    PlannedFault { fault, moment, victim, variant }
}

/// What the victim did during a fault.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) was_unready: bool,
    /// How many runs the server stopped while it could not reach the database.
    pub(super) stopped_without_database: usize,
}

/// The gates at which the proxy holds requests during a fault, and a count of lost answers.
pub(super) struct Gates {
    /// Holds requests of the victim, or the answers to them, at the moment of the fault.
    pub(super) victim: Gate,
    /// Holds the writes of the other servers, if the victim must go on while another server creates
    /// the defect.
    pub(super) others: Option<Gate>,
    /// How many answers the proxy dropped or replaced.
    pub(super) lost_answers: Arc<AtomicU32>,
}

impl PlannedFault {
    /// Whether the victim, after it was suspended, goes on while another server creates the same
    /// defect.
    pub(super) fn is_overtaken(self) -> bool {
        self.fault == Fault::Suspend && self.moment == Moment::BeforeWrite
    }

    pub(super) fn install_gates(self, cluster: &Cluster) -> Gates {
        let (victim_gate, lost_answers) = (Gate::default(), Arc::new(AtomicU32::new(0)));
        let other_gate = self.is_overtaken().then(Gate::default);
        let gates = Gates {
            victim: victim_gate.clone(),
            others: other_gate.clone(),
            lost_answers: Arc::clone(&lost_answers),
        };
        let address = cluster.servers[self.victim].address_at_tracker();
        cluster.proxy.set_script(move |exchange| {
            let is_write = exchange.request.is_post();
            if exchange.client != address {
                if let (true, Some(other_gate)) = (is_write, &other_gate) {
                    other_gate.hold();
                }
                return exchange.pass();
            }
            match self.moment {
                // The connector reads the priorities before a write, but not before a search.
                Moment::BeforeWrite if exchange.request.target.contains("priorities") => {
                    victim_gate.hold();
                }
                Moment::WriteInFlight if is_write => {
                    victim_gate.hold();
                    if self.variant.is_multiple_of(2) {
                        return Reply::reset();
                    }
                }
                Moment::AnswerInFlight if is_write => {
                    let reply = self.answer_write(exchange, &lost_answers);
                    victim_gate.hold();
                    return reply;
                }
                _ => {}
            }
            if is_write { self.answer_write(exchange, &lost_answers) } else { exchange.pass() }
        });
        gates
    }

    /// If the fault is `LoseAnswer`, the proxy drops or replaces the tracker's answer to a write.
    fn answer_write(self, exchange: &Exchange<'_>, lost_answers: &AtomicU32) -> Reply {
        let reply = exchange.pass();
        if self.fault != Fault::LoseAnswer {
            return reply;
        }
        lost_answers.fetch_add(1, Ordering::Relaxed);
        match self.variant % 4 {
            0 => Reply::reset(),
            1 => Reply::Raw(b"HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{".to_vec()),
            2 => Reply::Answer(Response::new(500, "internal error")),
            _ => Reply::Answer(Response::new(504, "<html>Gateway Timeout</html>")),
        }
    }

    /// Causes the fault, except `LoseAnswer`, which the proxy causes. Restores what it stopped or
    /// cut.
    pub(super) fn inject(self, cluster: &mut Cluster, gates: &Gates, times: &Times) -> Observed {
        let mut observed = Observed::default();
        let past_lease = times.lease + Duration::from_millis(500 + self.variant % 2_000);
        let server = &mut cluster.servers[self.victim];
        match self.fault {
            Fault::KillServer => {
                server.host.kill();
                // In two of three cases, the server starts again before its leases end.
                if self.variant.is_multiple_of(3) {
                    std::thread::sleep(past_lease);
                }
                server.host.restart();
            }
            Fault::KillDatabase => {
                cluster.postgres.kill();
                std::thread::sleep(Duration::from_millis(500 + self.variant % 2_500));
                cluster.postgres.start_again();
            }
            Fault::CutFromDatabase => {
                let stopped_before = count_stopped_runs(&server.host);
                server.namespace.cut(TO_DATABASE);
                let answer = server.host.await_readiness(503);
                observed.was_unready = answer.body.contains("store-unavailable");
                std::thread::sleep(past_lease);
                observed.stopped_without_database =
                    count_stopped_runs(&server.host) - stopped_before;
                server.namespace.restore(TO_DATABASE);
            }
            Fault::CutFromTracker => {
                server.namespace.cut(TO_TRACKER);
                if self.variant.is_multiple_of(2) {
                    gates.victim.open();
                }
                std::thread::sleep(past_lease);
                server.namespace.restore(TO_TRACKER);
            }
            Fault::Suspend => {
                server.host.suspend();
                match &gates.others {
                    Some(others) => others.await_held(1),
                    None => std::thread::sleep(past_lease),
                }
                server.host.resume();
            }
            Fault::SetClock => {
                server.step_clock(self.variant);
                std::thread::sleep(Duration::from_millis(500));
            }
            Fault::LoseAnswer => {}
        }
        observed
    }
}
