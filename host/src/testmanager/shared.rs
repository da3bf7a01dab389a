//! The context that all requests for one failed test share: settings, memory account, token, and
//! the record of the requests. This module never sends a request itself.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::domain::{Limits, OutboundCall, TestManagerSettings};
use crate::egress::{ActiveConnection, Permission, RunAccounts, RunRequests};
use crate::memory::{Account, Charge, MemoryOwner};

use super::Dependencies;
use super::client::Client;
use super::failure::Failure;
use super::state::ApiState;

/// Maximum number of requests of one [`Client`], including requests for tokens, redirects and the
/// client's own repetitions.
const REQUESTS_MAX: u64 = 250;
/// Maximum size of a JSON answer, bytes.
const JSON_BYTES_MAX: u64 = 4 << 20;

/// The context of all requests for the data of one failed test.
pub(super) struct FetchContext {
    pub(super) deps: Arc<Dependencies>,
    /// The origins, client secret and token that the requests may use.
    active: Arc<ActiveConnection>,
    pub(super) settings: TestManagerSettings,
    /// The only project whose KPIs the connection answers, if it is limited to one.
    pub(super) pinned_project: Option<String>,
    /// The state that all failed tests of the connection share.
    pub(super) state: Arc<ApiState>,
    /// The limits of the connection's connector.
    limits: Limits,
    /// The memory account of the requests; opened when it is first needed.
    account: OnceLock<Arc<Account>>,
    /// The memory charges for JSON, which are released when this context is dropped.
    charges: Mutex<Vec<Charge>>,
    /// The [`RunRequests`] of each client, which record its requests.
    requests: Mutex<Vec<Arc<RunRequests>>>,
    /// The result of fetching a token. Empty until the first fetch has ended.
    pub(super) token: OnceCell<Result<(), Failure>>,
}

impl FetchContext {
    pub(super) fn new(
        deps: Arc<Dependencies>,
        active: Arc<ActiveConnection>,
        settings: TestManagerSettings,
        pinned_project: Option<String>,
        state: Arc<ApiState>,
        limits: Limits,
    ) -> Self {
        Self {
            deps,
            active,
            settings,
            pinned_project,
            state,
            limits,
            account: OnceLock::new(),
            charges: Mutex::default(),
            requests: Mutex::default(),
            token: OnceCell::new(),
        }
    }

    pub(super) fn active(&self) -> &Arc<ActiveConnection> {
        &self.active
    }

    pub(super) fn calls(&self, measured_from: Instant) -> Vec<OutboundCall> {
        self.requests.lock().iter().flat_map(|requests| requests.calls(measured_from)).collect()
    }

    /// Returns a client whose requests are ended at the deadline.
    pub(super) fn client(self: &Arc<Self>, deadline: Instant) -> Result<Client, Failure> {
        self.client_with_answer_bytes_max(
            deadline,
            JSON_BYTES_MAX.min(self.limits.response_body_bytes),
        )
    }

    /// Returns a client like [`Self::client`], with another maximum size for each answer.
    pub(super) fn client_with_answer_bytes_max(
        self: &Arc<Self>,
        deadline: Instant,
        answer_bytes_max: u64,
    ) -> Result<Client, Failure> {
        let limits = Limits {
            outbound_calls: REQUESTS_MAX,
            response_body_bytes: answer_bytes_max,
            ..self.limits
        };
        let memory = self.account()?;
        let accounts = RunAccounts { meter: Arc::default(), memory };
        let requests = RunRequests::new(
            Arc::clone(&self.deps.egress),
            Arc::clone(&self.active),
            Permission::Reads,
            limits,
            Arc::clone(&self.deps.clock),
            deadline,
            accounts,
        );
        self.requests.lock().push(Arc::clone(&requests));
        let context = Arc::clone(self);
        Ok(Client::new(context, requests, deadline, answer_bytes_max))
    }

    pub(super) fn keep_charge(&self, charge: Charge) {
        self.charges.lock().push(charge);
    }

    /// Returns the memory account to which the requests of this failed test are charged.
    pub(super) fn account(&self) -> Result<Arc<Account>, Failure> {
        if let Some(account) = self.account.get() {
            return Ok(Arc::clone(account));
        }
        let connection = &self.active.connection;
        let owner =
            MemoryOwner { connector: connection.connector.clone(), connection: connection.id };
        let account = Account::open(&self.deps.memory, owner, self.limits.memory_bytes);
        let account = account.map_err(|error| Failure::Token(error.to_string()))?;
        Ok(Arc::clone(self.account.get_or_init(|| account)))
    }
}
