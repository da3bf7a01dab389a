//! Two hosts on one file, clocks that disagree, crashes at any point: what may never happen.

use std::collections::HashMap;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::domain::{Decision, DefectId, Refusal, Verdict};

/// One step; `host` is 0 or 1, `held` picks among the leases ever granted (a crash is a lease that
/// nobody uses any more, a zombie one that is used too late).
#[derive(Debug, Clone)]
enum Step {
    Wait {
        ms: i64,
    },
    Claim {
        host: usize,
    },
    Look {
        host: usize,
    },
    Sent {
        host: usize,
        held: usize,
    },
    Unsent {
        host: usize,
        held: usize,
    },
    Renew {
        host: usize,
        held: usize,
    },
    Settle {
        host: usize,
        held: usize,
        verdict: u8,
    },
    Decide {
        host: usize,
        decision: u8,
    },
    /// Both hosts die; one comes back alone, as the one process that holds the data folder, and then the
    /// other opens the file.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let host = 0..2_usize;
    let held = 0..3_usize;
    prop_oneof![
        2 => (1..LEASE_MS).prop_map(|ms| Step::Wait { ms }),
        4 => host.clone().prop_map(|host| Step::Claim { host }),
        1 => host.clone().prop_map(|host| Step::Look { host }),
        4 => (host.clone(), held.clone()).prop_map(|(host, held)| Step::Sent { host, held }),
        1 => (host.clone(), held.clone()).prop_map(|(host, held)| Step::Unsent { host, held }),
        1 => (host.clone(), held.clone()).prop_map(|(host, held)| Step::Renew { host, held }),
        3 => (host.clone(), held, 0..4_u8)
            .prop_map(|(host, held, verdict)| Step::Settle { host, held, verdict }),
        1 => (host, 0..4_u8).prop_map(|(host, decision)| Step::Decide { host, decision }),
        1 => Just(Step::Restart),
    ]
}

/// What the model knows of one lease.
struct Granted {
    lease: Lease,
    over: bool,
}

#[derive(Default)]
struct Model {
    now: i64,
    granted: Vec<Granted>,
    /// Per row: the fence under which something may have left, and how many writes did.
    left: HashMap<DefectId, (i64, u32)>,
}

impl Model {
    /// The `held`-th newest lease.
    fn pick(&self, held: usize) -> Option<usize> {
        self.granted.len().checked_sub(held + 1)
    }

    fn newest_fence(&self, row: DefectId) -> i64 {
        let of_row = self.granted.iter().filter(|granted| granted.lease.defect == row);
        of_row.map(|granted| granted.lease.fence).max().unwrap_or_default()
    }

    /// A lease is granted by a host whose clock shows `now`.
    fn grant(&mut self, lease: Lease, now: Timestamp) {
        let row = lease.defect;
        for other in self.granted.iter_mut().filter(|other| other.lease.defect == row) {
            assert!(other.over || other.lease.until <= now, "two live leases");
            assert!(other.lease.fence < lease.fence, "a fence that does not grow");
            // Fenced out from here on, whatever a clock that is behind still shows.
            other.over = true;
        }
        self.granted.push(Granted { lease, over: false });
    }

    fn wrote(&mut self, lease: &Lease) {
        let (fence, writes) = self.left.entry(lease.defect).or_insert((lease.fence, 0));
        assert_eq!(*fence, lease.fence, "a second create while a first may have left");
        *writes += 1;
    }

    fn took_back(&mut self, row: DefectId) {
        if let Some((_, writes)) = self.left.get_mut(&row) {
            *writes -= 1;
            if *writes == 0 {
                self.left.remove(&row);
            }
        }
    }
}

struct World {
    folder: TempDir,
    stores: [SqliteStore; 2],
    connection: ConnectionId,
    model: Model,
}

/// How far the second host's clock runs ahead of the first's.
const SKEW_MS: i64 = 7_000;

impl World {
    fn clock(&self, host: usize) -> Timestamp {
        at(self.model.now + if host == 0 { 0 } else { SKEW_MS })
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Wait { ms } => self.model.now += ms,
            Step::Claim { host } => self.claim(host).await,
            Step::Look { host } => self.look(host).await,
            Step::Decide { host, decision } => self.decide(host, decision).await,
            Step::Restart => self.restart().await,
            Step::Sent { host, held }
            | Step::Unsent { host, held }
            | Step::Renew { host, held }
            | Step::Settle { host, held, .. } => {
                if let Some(index) = self.model.pick(held) {
                    self.move_on(host, index, step).await;
                }
            }
        }
    }

    async fn claim(&mut self, host: usize) {
        let now = self.clock(host);
        let store = &self.stores[host];
        match try_claim(store, self.connection, &failed_test(1), now).await.unwrap() {
            Claimed::Create { lease, .. } => self.model.grant(lease, now),
            Claimed::Find { lease, retry, .. } => {
                let row = lease.defect;
                self.model.grant(lease.clone(), now);
                // A person asked for it, and the search found nothing.
                let moved = store.create_after_all(&lease, now).await;
                assert_eq!(moved.is_ok(), retry, "{moved:?}");
                if retry {
                    self.model.left.remove(&row);
                }
            }
            Claimed::Created { .. } | Claimed::Busy { .. } => {}
        }
    }

    async fn restart(&mut self) {
        for store in &self.stores {
            store.close().await;
        }
        let first = open(&self.folder).await;
        first.recover(self.clock(0), RUN_MS).await.unwrap();
        self.stores = [first, open(&self.folder).await];
        for granted in &mut self.model.granted {
            granted.over = true;
        }
    }

    async fn look(&mut self, host: usize) {
        let now = self.clock(host);
        let store = &self.stores[host];
        for record in store.due_doubts(now, RUN_MS, 9).await.unwrap() {
            let runner = RunnerId(Uuid::from_u128(4));
            let until = now + jiff::SignedDuration::from_millis(LEASE_MS);
            let claimed = store.claim_doubtful(record.id, runner, now, until).await.unwrap();
            self.model.grant(lease(&claimed.unwrap()), now);
        }
    }

    /// A move under a lease: refused where a newer lease exists, and else kept in the model.
    async fn move_on(&mut self, host: usize, index: usize, step: Step) {
        let (now, store) = (self.clock(host), &self.stores[host]);
        let held = self.model.granted[index].lease.clone();
        let until = now + jiff::SignedDuration::from_millis(LEASE_MS);
        let verdict = match &step {
            Step::Settle { verdict: 0, .. } => Verdict::Created(defect("1")),
            Step::Settle { verdict: 1, .. } => Verdict::Failed(Refusal::HostFull),
            Step::Settle { verdict: 2, .. } => {
                Verdict::InDoubt { reason: "lost".to_owned(), write_ended_at: now }
            }
            _ => Verdict::Unchanged,
        };
        let moved = match step {
            Step::Sent { .. } => store.sent(&held, now).await,
            Step::Unsent { .. } => store.unsent(&held, now).await,
            Step::Renew { .. } => store.renew(&held, until).await,
            _ => store.settle(&held, &verdict, event(), now).await,
        };
        if let Err(error) = moved {
            assert!(matches!(error, StoreError::Fenced), "{error}");
            return;
        }
        assert_eq!(held.fence, self.model.newest_fence(held.defect), "a fenced-out move");
        match step {
            Step::Sent { .. } => {
                assert!(self.model.granted[index].lease.until > now, "sent under a dead lease");
                self.model.wrote(&held);
            }
            Step::Unsent { .. } => self.model.took_back(held.defect),
            Step::Renew { .. } => self.model.granted[index].lease.until = until,
            _ => {
                self.model.granted[index].over = true;
                if matches!(verdict, Verdict::Failed(_)) {
                    self.model.left.remove(&held.defect);
                }
            }
        }
    }

    async fn decide(&mut self, host: usize, decision: u8) {
        let (now, store) = (self.clock(host), &self.stores[host]);
        let Some(row) = self.model.granted.last().map(|granted| granted.lease.defect) else {
            return;
        };
        let decision = match decision {
            0 => Decision::Adopt(defect("2")),
            1 => Decision::Retry,
            2 => Decision::GiveUp,
            _ => Decision::Release,
        };
        match store.decide(row, &decision, "ann", now).await {
            Err(error) => assert!(matches!(error, StoreError::Conflict(_)), "{error}"),
            Ok(_) => {
                for granted in &mut self.model.granted {
                    granted.over = true;
                }
                if matches!(decision, Decision::GiveUp) {
                    self.model.left.remove(&row);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_created_twice_and_no_lease_is_held_twice(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempdir().unwrap();
            let (first, connection) = stocked(&folder).await;
            let stores = [first, open(&folder).await];
            let mut world = World { folder, stores, connection, model: Model::default() };
            for step in steps {
                world.take(step).await;
            }
            for store in &world.stores {
                store.close().await;
            }
        });
    }
}
