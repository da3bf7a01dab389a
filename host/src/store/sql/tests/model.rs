//! A model test: two hosts with different clocks use one database and crash at any point. The test
//! checks that no defect is created twice and that a row never has two valid leases.

use std::collections::HashMap;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::domain::{Decision, DefectId, RowEnd};
use crate::store::DefectStore as _;

/// One step of the model. `host` is 0 or 1. `age` selects one of the granted leases; 0 is the
/// newest lease. If a lease is never used again, this simulates a crashed run. If a lease is used
/// too late, this simulates a paused run.
#[derive(Debug, Clone)]
enum Step {
    Wait {
        ms: i64,
    },
    /// Claims the failed test. If the claim requires a search and `finds_nothing` is true, the
    /// search ends the doubt.
    Claim {
        host: usize,
        finds_nothing: bool,
    },
    Search {
        host: usize,
    },
    MarkSending {
        host: usize,
        age: usize,
    },
    Unmark {
        host: usize,
        age: usize,
    },
    Renew {
        host: usize,
        age: usize,
    },
    StoreOutcome {
        host: usize,
        age: usize,
        verdict: u8,
    },
    Decide {
        host: usize,
        decision: u8,
    },
    /// Both hosts end. The first one starts alone and recovers the database; then the other opens
    /// the database.
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let host = 0..2_usize;
    let age = 0..3_usize;
    prop_oneof![
        2 => (1..LEASE_MS).prop_map(|ms| Step::Wait { ms }),
        4 => (host.clone(), any::<bool>())
            .prop_map(|(host, finds_nothing)| Step::Claim { host, finds_nothing }),
        1 => host.clone().prop_map(|host| Step::Search { host }),
        4 => (host.clone(), age.clone()).prop_map(|(host, age)| Step::MarkSending { host, age }),
        1 => (host.clone(), age.clone()).prop_map(|(host, age)| Step::Unmark { host, age }),
        1 => (host.clone(), age.clone()).prop_map(|(host, age)| Step::Renew { host, age }),
        3 => (host.clone(), age, 0..4_u8)
            .prop_map(|(host, age, verdict)| Step::StoreOutcome { host, age, verdict }),
        1 => (host, 0..4_u8).prop_map(|(host, decision)| Step::Decide { host, decision }),
        1 => Just(Step::Restart),
    ]
}

/// A lease that the store granted to a host.
struct GrantedLease {
    lease: Lease,
    /// Whether the store must refuse most changes under this lease, even before the lease ends.
    is_over: bool,
}

/// The state that the database must have after each step.
#[derive(Default)]
struct Model {
    /// The time of the first host's clock, as an argument of [`at`].
    now: i64,
    /// All granted leases, the oldest first.
    granted_leases: Vec<GrantedLease>,
    /// For each row, the fence of the lease under which writes may have been sent, and the number
    /// of these writes.
    sent_writes: HashMap<DefectId, (i64, u32)>,
}

impl Model {
    fn index(&self, age: usize) -> Option<usize> {
        self.granted_leases.len().checked_sub(age + 1)
    }

    /// Returns the newest fence of a row; 0 if the row was never leased.
    fn newest_fence(&self, row: DefectId) -> i64 {
        let of_row = self.granted_leases.iter().filter(|granted| granted.lease.defect == row);
        of_row.map(|granted| granted.lease.fence).max().unwrap_or_default()
    }

    /// Records that a host whose clock shows `now` was granted a lease.
    fn grant(&mut self, lease: Lease, now: Timestamp) {
        let row = lease.defect;
        for other in self.granted_leases.iter_mut().filter(|other| other.lease.defect == row) {
            assert!(other.is_over || other.lease.until <= now, "two valid leases");
            assert!(other.lease.fence < lease.fence, "the fence did not grow");
            // From now on the store refuses the older fence, even if the other host's clock is
            // behind.
            other.is_over = true;
        }
        self.granted_leases.push(GrantedLease { lease, is_over: false });
    }

    fn mark_sending(&mut self, lease: &Lease) {
        let (fence, writes) = self.sent_writes.entry(lease.defect).or_insert((lease.fence, 0));
        assert_eq!(
            *fence, lease.fence,
            "a second create, although a write of the first may have been sent"
        );
        *writes += 1;
    }

    fn unmark(&mut self, row: DefectId) {
        if let Some((_, writes)) = self.sent_writes.get_mut(&row) {
            *writes -= 1;
            if *writes == 0 {
                self.sent_writes.remove(&row);
            }
        }
    }
}

struct World {
    folder: TempDir,
    stores: [SqlStore; 2],
    connection: ConnectionId,
    model: Model,
}

/// How far the second host's clock is ahead of the first host's clock, milliseconds.
const CLOCK_SKEW_MS: i64 = 7_000;

impl World {
    fn clock(&self, host: usize) -> Timestamp {
        at(self.model.now + if host == 0 { 0 } else { CLOCK_SKEW_MS })
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Wait { ms } => self.model.now += ms,
            Step::Claim { host, finds_nothing } => self.claim(host, finds_nothing).await,
            Step::Search { host } => self.search(host).await,
            Step::Decide { host, decision } => self.decide(host, decision).await,
            Step::Restart => self.restart().await,
            Step::MarkSending { host, age }
            | Step::Unmark { host, age }
            | Step::Renew { host, age }
            | Step::StoreOutcome { host, age, .. } => {
                if let Some(index) = self.model.index(age) {
                    self.move_row(host, index, step).await;
                }
            }
        }
    }

    async fn claim(&mut self, host: usize, finds_nothing: bool) {
        let now = self.clock(host);
        let store = &self.stores[host];
        match try_claim(store, self.connection, &failed_test(1), now).await.unwrap() {
            Claimed::Create { lease, .. } => {
                assert!(
                    !self.model.sent_writes.contains_key(&lease.defect),
                    "a create without a search after a write"
                );
                self.model.grant(lease, now);
            }
            Claimed::Search(doubtful) => {
                let lease = doubtful.lease;
                self.model.grant(lease.clone(), now);
                if finds_nothing {
                    store.move_back_to_intent(&lease, None, now).await.unwrap();
                    self.model.sent_writes.remove(&lease.defect);
                }
            }
            Claimed::Created { .. } | Claimed::Busy { .. } | Claimed::Ended { .. } => {}
            Claimed::Recurs(_) | Claimed::WaitsForFirst(_) => unreachable!("the policy is `new`"),
        }
    }

    async fn restart(&mut self) {
        for store in &self.stores {
            store.close().await;
        }
        let first = open(&self.folder).await;
        first.recover(self.clock(0), RUN_MS).await.unwrap();
        self.stores = [first, open(&self.folder).await];
        for granted in &mut self.model.granted_leases {
            granted.is_over = true;
        }
    }

    async fn search(&mut self, host: usize) {
        let now = self.clock(host);
        let store = &self.stores[host];
        for due in store.due_searches(now, RUN_MS, Vec::new(), DUE_LIMITS).await.unwrap() {
            let until = now + jiff::SignedDuration::from_millis(LEASE_MS);
            let claimed = store.claim_search(due.id, now, until).await.unwrap();
            self.model.grant(claimed.unwrap().lease, now);
        }
    }

    /// Changes a row under a lease. If a newer lease exists, the store must refuse this change,
    /// unless it stores a known defect.
    async fn move_row(&mut self, host: usize, index: usize, step: Step) {
        let (now, store) = (self.clock(host), &self.stores[host]);
        let lease = self.model.granted_leases[index].lease.clone();
        let until = now + jiff::SignedDuration::from_millis(LEASE_MS);
        // A step `StoreOutcome` without a verdict only gives the lease back.
        let verdict = match &step {
            Step::StoreOutcome { verdict: 0, .. } => Some(RowEnd::Created(defect("1"))),
            Step::StoreOutcome { verdict: 1, .. } => {
                Some(failed_after_write(WriteClass::Refused, self.model.now))
            }
            Step::StoreOutcome { verdict: 2, .. } => {
                Some(failed_after_write(WriteClass::Open, self.model.now))
            }
            _ => None,
        };
        let moved = match step {
            Step::MarkSending { .. } => store.mark_sending(&lease, write(now), now).await,
            Step::Unmark { .. } => store.unmark_sending(&lease, now).await,
            Step::Renew { .. } => store.renew(&lease, until).await,
            _ => match &verdict {
                Some(verdict) => store.store_outcome(&lease, verdict, &[], event(), now).await,
                None => store.give_back(&lease).await,
            },
        };
        if let Err(error) = moved {
            assert!(matches!(error, StoreError::Fenced), "{error}");
            return;
        }
        let newest = self.model.newest_fence(lease.defect);
        if matches!(verdict, Some(RowEnd::Created(_))) && lease.fence < newest {
            // A known defect must be stored, unless another run has leased the row.
            let is_leased = self
                .model
                .granted_leases
                .iter()
                .any(|other| other.lease.fence == newest && !other.is_over);
            assert!(!is_leased, "an older lease changed a row that another run has leased");
            return;
        }
        assert_eq!(lease.fence, newest, "an older lease changed the row");
        match step {
            Step::MarkSending { .. } => {
                assert!(
                    self.model.granted_leases[index].lease.until > now,
                    "a write under a lease that ended"
                );
                self.model.granted_leases[index].lease.until = until;
                self.model.mark_sending(&lease);
            }
            Step::Unmark { .. } => self.model.unmark(lease.defect),
            Step::Renew { .. } => self.model.granted_leases[index].lease.until = until,
            _ => {
                self.model.granted_leases[index].is_over = true;
            }
        }
    }

    async fn decide(&mut self, host: usize, decision: u8) {
        let (now, store) = (self.clock(host), &self.stores[host]);
        let Some(row) = self.model.granted_leases.last().map(|granted| granted.lease.defect) else {
            return;
        };
        let decision = match decision {
            0 => Decision::Adopt(defect("2")),
            1 => Decision::Retry,
            2 => Decision::GiveUp,
            _ => Decision::Release,
        };
        match store.decide(row, &decision, &[], "ann", now, RUN_MS).await {
            Err(error) => assert!(matches!(error, StoreError::Conflict(_)), "{error}"),
            Ok(_) => {
                for granted in &mut self.model.granted_leases {
                    granted.is_over = true;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_defect_is_created_twice_and_no_row_has_two_valid_leases(
        steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempdir().unwrap();
            let (first, connection) = store_with_connection(&folder).await;
            let stores = [first, open(&folder).await];
            let mut world = World { folder, stores, connection, model: Model::default() };
            for step in steps {
                world.run(step).await;
            }
            for store in &world.stores {
                store.close().await;
            }
        });
    }
}
