//! The faults: what fails, at which moment of a create, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jackfield_tests::{Exchange, Gate, Moment, Reply, Response};

use super::Times;
use super::cluster::{Cluster, TO_DATABASE, TO_TRACKER};
use super::rounds::runs_stopped;

/// What fails. A server is the one whose clicks are in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL ends the server.
    KillServer,
    /// PostgreSQL ends as in a crash.
    KillDatabase,
    /// The server's link to PostgreSQL is down for longer than a lease.
    CutFromDatabase,
    /// The server's link to Redmine is down for longer than a lease.
    CutFromTracker,
    /// SIGSTOP stops the server for longer than a lease.
    Suspend,
    /// The server's clock steps by one hour or two.
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

/// One fault of one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedFault {
    pub(super) fault: Fault,
    pub(super) moment: Moment,
    /// The server.
    pub(super) victim: usize,
    /// A number that decides what else may vary.
    pub(super) variant: u64,
}

/// Plans a fault.
pub(super) const fn planned(
    fault: Fault,
    moment: Moment,
    victim: usize,
    variant: u64,
) -> PlannedFault {
    PlannedFault { fault, moment, victim, variant }
}

/// What was seen while something failed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The server said that it is not ready.
    pub(super) was_unready: bool,
    /// How many runs the server stopped while it could not reach the database.
    pub(super) stopped_without_database: usize,
}

/// Where the proxy holds requests during a fault.
pub(super) struct Gates {
    /// Holds requests or answers of the server at the moment of the fault.
    pub(super) victim: Gate,
    /// Holds the writes of the other servers, if the server goes on while one of them creates.
    pub(super) others: Option<Gate>,
    /// How many answers the proxy lost or replaced.
    pub(super) lost: Arc<AtomicU32>,
}

impl PlannedFault {
    /// Whether the server goes on while another one creates the same defect.
    pub(super) fn is_overtaken(self) -> bool {
        self.fault == Fault::Suspend && self.moment == Moment::BeforeWrite
    }

    /// Sets the proxy's script so that requests are held at this moment.
    pub(super) fn install_gates(self, cluster: &Cluster) -> Gates {
        let (held, lost) = (Gate::default(), Arc::new(AtomicU32::new(0)));
        let others = self.is_overtaken().then(Gate::default);
        let gates = Gates { victim: held.clone(), others: others.clone(), lost: Arc::clone(&lost) };
        let address = cluster.replicas[self.victim].address();
        cluster.proxy.set_script(move |exchange| {
            let is_write = exchange.request.is_post();
            if exchange.client != address {
                if let (true, Some(others)) = (is_write, &others) {
                    others.hold();
                }
                return exchange.pass();
            }
            match self.moment {
                // Not the requests of a search.
                Moment::BeforeWrite if exchange.request.target.contains("priorities") => {
                    held.hold();
                }
                Moment::WriteInFlight if is_write => {
                    held.hold();
                    if self.variant.is_multiple_of(2) {
                        return Reply::reset();
                    }
                }
                Moment::AnswerInFlight if is_write => {
                    let reply = self.answer(exchange, &lost);
                    held.hold();
                    return reply;
                }
                _ => {}
            }
            if is_write { self.answer(exchange, &lost) } else { exchange.pass() }
        });
        gates
    }

    /// The tracker's answer to a write; lost or replaced if that is the fault.
    fn answer(self, exchange: &Exchange<'_>, lost: &AtomicU32) -> Reply {
        let reply = exchange.pass();
        if self.fault != Fault::LoseAnswer {
            return reply;
        }
        lost.fetch_add(1, Ordering::Relaxed);
        match self.variant % 4 {
            0 => Reply::reset(),
            1 => Reply::Raw(b"HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{".to_vec()),
            2 => Reply::Answer(Response::new(500, "internal error")),
            _ => Reply::Answer(Response::new(504, "<html>Gateway Timeout</html>")),
        }
    }

    /// Lets it fail, and waits for as long as it lasts.
    pub(super) fn inject(self, cluster: &mut Cluster, gates: &Gates, times: &Times) -> Seen {
        let mut seen = Seen::default();
        let past_lease = times.lease + Duration::from_millis(500 + self.variant % 2_000);
        let replica = &mut cluster.replicas[self.victim];
        match self.fault {
            Fault::KillServer => {
                replica.host.kill();
                // Sometimes the server comes back before the leases end.
                if self.variant.is_multiple_of(3) {
                    std::thread::sleep(past_lease);
                }
                replica.host.restart();
            }
            Fault::KillDatabase => {
                cluster.postgres.kill();
                std::thread::sleep(Duration::from_millis(500 + self.variant % 2_500));
                cluster.postgres.start_again();
            }
            Fault::CutFromDatabase => {
                let stopped = runs_stopped(&replica.host);
                replica.namespace.cut(TO_DATABASE);
                let answer = replica.host.await_readiness(503);
                seen.was_unready = answer.body.contains("store-unavailable");
                std::thread::sleep(past_lease);
                seen.stopped_without_database = runs_stopped(&replica.host) - stopped;
                replica.namespace.restore(TO_DATABASE);
            }
            Fault::CutFromTracker => {
                replica.namespace.cut(TO_TRACKER);
                if self.variant.is_multiple_of(2) {
                    gates.victim.open();
                }
                std::thread::sleep(past_lease);
                replica.namespace.restore(TO_TRACKER);
            }
            Fault::Suspend => {
                replica.host.suspend();
                match &gates.others {
                    Some(others) => others.await_held(1),
                    None => std::thread::sleep(past_lease),
                }
                replica.host.resume();
            }
            Fault::SetClock => {
                replica.step_clock(self.variant);
                std::thread::sleep(Duration::from_millis(500));
            }
            Fault::LoseAnswer => {}
        }
        seen
    }
}
