//! The state that all requests for one failed test share: settings, memory account, token, and the
//! record of the requests.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::domain::{Limits, OutboundCall, TestManagerSettings};
use crate::egress::{ActiveConnection, Charged, Permission, RunRequests};
use crate::memory::{Account, Charge, MemoryOwner};

use super::Dependencies;
use super::client::Client;
use super::failure::Failure;
use super::state::State;

/// Maximum number of requests of one session, with tokens, redirects and repetitions.
const REQUESTS_MAX: u64 = 250;
/// Maximum size of a JSON answer, bytes.
const JSON_BYTES_MAX: u64 = 4 << 20;

/// Fetches the report of one failed test: the state that all its requests share.
pub(super) struct ReportFetch {
    pub(super) deps: Arc<Dependencies>,
    /// The origins, client secret and token that the requests may use.
    active: Arc<ActiveConnection>,
    pub(super) settings: TestManagerSettings,
    /// The project to which the connection is pinned.
    pub(super) pinned: Option<String>,
    pub(super) state: Arc<State>,
    limits: Limits,
    /// The memory account of the requests, opened at the first request.
    account: OnceLock<Arc<Account>>,
    /// The memory that is charged for JSON, as long as this state exists.
    charges: Mutex<Vec<Charge>>,
    sessions: Mutex<Vec<Arc<RunRequests>>>,
    pub(super) token: OnceCell<Result<(), Failure>>,
}

impl ReportFetch {
    pub(super) fn new(
        deps: Arc<Dependencies>,
        active: Arc<ActiveConnection>,
        settings: TestManagerSettings,
        pinned: Option<String>,
        state: Arc<State>,
        limits: Limits,
    ) -> Self {
        Self {
            deps,
            active,
            settings,
            pinned,
            state,
            limits,
            account: OnceLock::new(),
            charges: Mutex::default(),
            sessions: Mutex::default(),
            token: OnceCell::new(),
        }
    }

    pub(super) fn active(&self) -> &Arc<ActiveConnection> {
        &self.active
    }

    /// The requests so far, with their times from `measured_from`.
    pub(super) fn calls(&self, measured_from: Instant) -> Vec<OutboundCall> {
        self.sessions.lock().iter().flat_map(|session| session.calls(measured_from)).collect()
    }

    /// A client whose requests end by the deadline.
    pub(super) fn client(self: &Arc<Self>, deadline: Instant) -> Result<Client, Failure> {
        self.client_with(deadline, JSON_BYTES_MAX.min(self.limits.response_body_bytes))
    }

    /// As [`Self::client`], with a maximum size for each answer.
    pub(super) fn client_with(
        self: &Arc<Self>,
        deadline: Instant,
        bytes_max: u64,
    ) -> Result<Client, Failure> {
        let limits =
            Limits { outbound_calls: REQUESTS_MAX, response_body_bytes: bytes_max, ..self.limits };
        let memory = self.account()?;
        let charged = Charged { meter: Arc::default(), memory };
        let session = RunRequests::new(
            Arc::clone(&self.deps.egress),
            Arc::clone(&self.active),
            Permission::Reads,
            limits,
            Arc::clone(&self.deps.clock),
            deadline,
            charged,
        );
        self.sessions.lock().push(Arc::clone(&session));
        let shared = Arc::clone(self);
        Ok(Client::new(shared, session, deadline, bytes_max))
    }

    /// Keeps a charge for as long as this state exists.
    pub(super) fn keep(&self, charge: Charge) {
        self.charges.lock().push(charge);
    }

    /// The memory account that the requests of this failed test are charged to.
    pub(super) fn account(&self) -> Result<Arc<Account>, Failure> {
        if let Some(account) = self.account.get() {
            return Ok(Arc::clone(account));
        }
        let connection = &self.active.connection;
        let owner =
            MemoryOwner { connector: connection.connector.clone(), connection: connection.id };
        let account = Account::open(&self.deps.memory, owner, self.limits.memory_bytes);
        let account = account.map_err(|full| Failure::Token(full.to_string()))?;
        Ok(Arc::clone(self.account.get_or_init(|| account)))
    }
}
