//! The stand-in for Test Manager: `jackfield simulate test-manager`. It is not part of the server.
//!
//! It answers the reading part of Test Manager's REST API with invented data, and has a page that
//! sends the two webhooks. Its paths and answers are taken from public clients of Test Manager.
//! Unknown parts, such as the format of errors, are as simple as possible. The credentials are
//! fixed and protect nothing.

mod api;
mod control;
mod data;
mod dto;
mod faults;
mod files;
mod gate;
mod pages;
mod png;
mod rates;
mod seed;
mod tokens;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpListener;
use uuid::Uuid;

use data::DataSet;
use faults::Faults;
use gate::ReceivedRequest;
use pages::PageState;
use rates::RateCounters;
use tokens::Tokens;

pub use faults::{Fault, FaultName, InvalidFault};
pub use pages::{Counts, CreatedDefect, FailedTest, WebhookError, Webhooks};
pub use tokens::{CLIENT_ID, CLIENT_SECRET};

/// The paths of the organisation and of the tenant, in the form of Test Manager's addresses.
const ORGANIZATION: &str = "/sample";
const TENANT: &str = "/sample/DefaultTenant";
/// Maximum size of a request body, bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The options of a stand-in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The seed of the data: the same seed always gives the same data.
    pub seed: u64,
    /// The faults that are active when the stand-in starts.
    pub faults: Vec<Fault>,
    /// The URL to which webhooks are sent; it can also be set on the page.
    pub webhook_url: Option<String>,
}

/// The sockets of a stand-in: one for the API and the pages, and one that is a second origin for
/// files.
pub struct Listeners {
    main: TcpListener,
    files: TcpListener,
}

impl Listeners {
    /// Listens on the address, and for files on another port of the same address.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn bind(listen: SocketAddr) -> std::io::Result<Self> {
        let main = TcpListener::bind(listen).await?;
        Ok(Self { main, files: TcpListener::bind((listen.ip(), 0)).await? })
    }
}

/// The addresses of a running stand-in.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The address of the page with the executions and the dashboard.
    pub page_url: String,
    /// The base URL of Test Manager, for a connection.
    pub base_url: String,
    /// The token endpoint, for a connection.
    pub token_url: String,
    /// The origin from which screenshots are downloaded with the fault `screenshot-redirect`.
    pub files_url: String,
}

/// A stand-in with its data, its state and its addresses.
pub struct Simulator {
    addresses: Addresses,
    webhooks: Arc<dyn Webhooks>,
    state: Mutex<State>,
}

/// The state that requests and clicks on the pages change.
struct State {
    data_set: DataSet,
    faults: Faults,
    tokens: Tokens,
    rates: RateCounters,
    /// The last requests, the oldest first.
    requests: VecDeque<ReceivedRequest>,
    page_state: PageState,
    /// The defects from the answers to Create Defect, by their ids in the stand-in.
    defects: BTreeMap<Uuid, dto::Defect>,
}

impl Simulator {
    /// Creates a stand-in and its data. It sends its webhooks through `webhooks`.
    ///
    /// # Errors
    /// The address of a listener cannot be read.
    pub fn new(
        listeners: &Listeners,
        options: &Options,
        webhooks: Arc<dyn Webhooks>,
    ) -> std::io::Result<Arc<Self>> {
        let main = origin(listeners.main.local_addr()?);
        let addresses = Addresses {
            page_url: format!("{main}/"),
            base_url: format!("{main}{TENANT}/testmanager_"),
            token_url: format!("{main}{ORGANIZATION}/identity_/connect/token"),
            files_url: origin(listeners.files.local_addr()?),
        };
        let state = State {
            data_set: DataSet::new(options.seed, &addresses.base_url),
            faults: Faults::new(&options.faults),
            tokens: Tokens::default(),
            rates: RateCounters::default(),
            requests: VecDeque::new(),
            page_state: PageState::new(options.webhook_url.clone()),
            defects: BTreeMap::new(),
        };
        Ok(Arc::new(Self { addresses, webhooks, state: Mutex::new(state) }))
    }

    /// The addresses of this stand-in.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Answers requests on both listeners until the future is dropped.
    ///
    /// # Errors
    /// A listener failed.
    pub async fn serve(self: Arc<Self>, listeners: Listeners) -> std::io::Result<()> {
        let main = gate::routes(&self)
            .merge(control::routes())
            .merge(pages::routes())
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(self);
        let files: Router = files::routes();
        let main = axum::serve(listeners.main, main).into_future();
        let files = axum::serve(listeners.files, files).into_future();
        tokio::try_join!(main, files).map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The origin with which programs on this machine reach the address of a listener.
fn origin(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("http://localhost:{}", address.port()),
        false => format!("http://{address}"),
    }
}
