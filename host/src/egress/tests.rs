//! Contains the modules of egress tests and their shared helpers.

mod certificates;
mod client_certificates;
mod cookies;
mod fakes;
mod http2;
mod large_bodies;
mod networks;
mod reads;
mod requests;
mod secrets;
mod tls;
mod trust;
mod write_results;
mod write_rules;
mod writes;

pub(crate) use fakes::*;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::spool::Spool;
use super::{
    ActiveConnection, Body, Egress, HttpError, OutboundRequest, OutboundResponse, OwnServer,
    Permission, RunAccounts, RunRequests,
};
use crate::domain::{
    Connection, ConnectionId, Effect, FailedTest, Grants, Journal, Limits, Marker, NotJournaled,
    SecretGrant, SecretPlace, SystemClock,
};
use crate::memory::Account;
use crate::secret::Secret;
use crate::telemetry::TraceParent;
use crate::transport::{Dialer, OwnAddresses, Proxies, Resolver, client_config};

/// Builds the `RunRequests` of a run.
pub(crate) struct RequestsBuilder {
    pub(crate) grants: Grants,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) allow_private: bool,
    pub(crate) http1_only: bool,
    /// The trace that the requests continue.
    pub(crate) trace: Option<TraceParent>,
    pub(crate) limits: Limits,
    /// The host names that can be resolved, in addition to `localhost`. For each name, the lists of
    /// addresses that its lookups return (see [`RequestsBuilder::name`]).
    pub(crate) names: HashMap<String, Vec<Vec<IpAddr>>>,
    /// The URL of the proxy. If it is empty, requests use no proxy.
    pub(crate) proxy: String,
    /// The file of extra trust anchors.
    pub(crate) extra_ca: Option<PathBuf>,
    /// The time from the start of the run to the deadline of its requests.
    pub(crate) run_time: Duration,
    pub(crate) spool_folder: PathBuf,
    pub(crate) spool_bytes_max: u64,
}

impl RequestsBuilder {
    /// Creates a builder for a connection that grants these origins.
    pub(crate) fn granting(origins: &[&str]) -> Self {
        let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        Self {
            grants: Grants { origins, ..Grants::default() },
            secrets: BTreeMap::new(),
            allow_private: false,
            http1_only: false,
            trace: None,
            limits: Limits::default(),
            names: HashMap::new(),
            proxy: String::new(),
            extra_ca: None,
            run_time: Duration::from_secs(60),
            spool_folder: std::env::temp_dir(),
            spool_bytes_max: 1 << 30,
        }
    }

    /// Adds a secret that is granted to one origin.
    pub(crate) fn secret(
        mut self,
        name: &str,
        value: &str,
        origin: &str,
        place: SecretPlace,
    ) -> Self {
        let grant = SecretGrant { origin: origin.parse().unwrap(), place };
        self.grants.secrets.insert(name.to_owned(), grant);
        self.secrets.insert(name.to_owned(), Secret::new(value.to_owned()));
        self
    }

    /// Adds a host name that can be resolved. Each lookup returns the next list of addresses. After
    /// the last list, every lookup returns the last list.
    pub(crate) fn name(mut self, name: &str, answers: &[&[&str]]) -> Self {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        self.names.insert(name.to_owned(), answers.iter().map(parse).collect());
        self
    }

    /// Each call returns a new connection, which has its own HTTP connections and tokens.
    pub(crate) fn active(&self) -> Arc<ActiveConnection> {
        let id = ConnectionId(Uuid::nil());
        let connector = "test".parse().unwrap();
        let created_at = jiff::Timestamp::UNIX_EPOCH;
        let mut connection = Connection::new(id, "test".to_owned(), connector, created_at);
        connection.grants = self.grants.clone();
        connection.allow_private = self.allow_private;
        connection.http1_only = self.http1_only;
        connection.trace_context = self.trace.is_some();
        Arc::new(ActiveConnection::new(connection, self.secrets.clone()))
    }

    pub(crate) fn egress(&self) -> Arc<Egress> {
        let dialer = Dialer {
            tls: client_config(self.extra_ca.as_deref()).unwrap(),
            resolver: Box::new(FakeResolver(Mutex::new(self.names.clone()))),
            proxies: Proxies::new(&self.proxy, &self.proxy, ""),
            own_addresses: OwnAddresses::default(),
        };
        let spool = Spool::new(self.spool_folder.clone(), self.spool_bytes_max);
        Arc::new(Egress::with_dialer(dialer, spool, OwnServer::default()))
    }

    /// Returns the `RunRequests` of the only run of a new connection.
    pub(crate) fn requests_with(&self, permission: Permission) -> Arc<RunRequests> {
        self.requests_of(&self.active(), permission)
    }

    pub(crate) fn requests_of(
        &self,
        active: &Arc<ActiveConnection>,
        permission: Permission,
    ) -> Arc<RunRequests> {
        let deadline = Instant::now() + self.run_time;
        let clock = Arc::new(SystemClock);
        let (egress, active) = (self.egress(), Arc::clone(active));
        let memory = Account::for_test(self.limits.memory_bytes);
        let accounts = RunAccounts { meter: Arc::default(), memory };
        let run_requests =
            RunRequests::new(egress, active, permission, self.limits, clock, deadline, accounts);
        if let Some(trace) = self.trace {
            run_requests.continue_trace(trace);
        }
        run_requests
    }

    /// Returns the URL of a path on the first granted origin of the connection.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.grants.origins[0])
    }

    pub(crate) fn read_only_requests(&self) -> Arc<RunRequests> {
        self.requests_with(Permission::Reads)
    }
}

impl RunRequests {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.active.connection.grants.origins[0])
    }
}

pub(crate) fn get(url: impl Into<String>) -> OutboundRequest {
    OutboundRequest {
        method: Method::GET,
        effect: None,
        url: url.into(),
        headers: Vec::new(),
        body: Bytes::new(),
    }
}

pub(crate) fn post(url: impl Into<String>, body: impl Into<Bytes>) -> OutboundRequest {
    OutboundRequest { method: Method::POST, body: body.into(), ..get(url) }
}

pub(crate) fn with_header(
    mut request: OutboundRequest,
    name: &str,
    value: &str,
) -> OutboundRequest {
    request.headers.push((name.to_owned(), value.to_owned()));
    request
}

pub(crate) fn with_effect(request: OutboundRequest, effect: Effect) -> OutboundRequest {
    OutboundRequest { effect: Some(effect), ..request }
}

pub(crate) fn header_value<'a>(answer: &'a OutboundResponse, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
}

impl<T: AsRef<[u8]>> PartialEq<T> for Body {
    fn eq(&self, other: &T) -> bool {
        self.bytes_in_memory() == other.as_ref()
    }
}

pub(crate) fn is_denied(result: &Result<OutboundResponse, HttpError>) -> bool {
    matches!(result, Err(HttpError::Denied(_) | HttpError::NotGranted(_)))
}
