//! The stand-in for Test Manager, for `jackfield simulate test-manager` and `jackfield demo`. It is
//! not part of the server.
//!
//! The stand-in answers reading requests to Test Manager's REST API with invented data, and its
//! page sends the two webhooks. The paths and the formats of answers come from public clients of
//! Test Manager. What these clients do not show, such as the format of errors, is as simple as
//! possible. The credentials of the API are the same in each stand-in and protect nothing.

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
use tokens::IssuedTokens;

pub use faults::{Fault, FaultName, InvalidFault};
pub use pages::{Counts, CreatedDefect, FailedTest, WebhookError, Webhooks};
pub use tokens::{CLIENT_ID, CLIENT_SECRET};

const ORGANIZATION: &str = "/sample";
/// The organisation and the tenant in the paths of Test Manager's addresses.
const TENANT: &str = "/sample/DefaultTenant";
/// Maximum size of a request body, bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The options of a stand-in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The seed of the data. The same seed gives the same data, except the address in links.
    pub seed: u64,
    /// The faults that are active when the stand-in starts.
    pub faults: Vec<Fault>,
    /// The URL to which webhooks are sent. A person can change it on the page.
    pub webhook_url: Option<String>,
}

/// The sockets of a stand-in. Redirected screenshots need another origin than the API.
pub struct Listeners {
    /// The socket for the API and the pages.
    main_listener: TcpListener,
    /// The socket for redirected screenshots.
    files_listener: TcpListener,
}

impl Listeners {
    /// Listens on this address for the API and the pages, and on a free port of the same IP address
    /// for redirected screenshots.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn bind(listen: SocketAddr) -> std::io::Result<Self> {
        let main_listener = TcpListener::bind(listen).await?;
        let files_listener = TcpListener::bind((listen.ip(), 0)).await?;
        Ok(Self { main_listener, files_listener })
    }
}

/// The addresses of a running stand-in.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The address of the page with the executions and the dashboards.
    pub page_url: String,
    /// The base URL of Test Manager, which a connection needs.
    pub base_url: String,
    /// The token endpoint, which a connection needs.
    pub token_url: String,
    /// The origin from which screenshots are downloaded with the fault `screenshot-redirect`.
    pub files_url: String,
}

/// A stand-in for Test Manager.
pub struct Simulator {
    addresses: Addresses,
    webhooks: Arc<dyn Webhooks>,
    state: Mutex<State>,
}

/// The state that requests and clicks on the pages change.
struct State {
    data_set: DataSet,
    faults: Faults,
    tokens: IssuedTokens,
    rates: RateCounters,
    /// The last requests to the API and the token endpoint, the oldest first.
    requests: VecDeque<ReceivedRequest>,
    page_state: PageState,
    /// The defects that answers to Create Defect contained, by their ids in the stand-in.
    defects: BTreeMap<Uuid, dto::Defect>,
}

impl Simulator {
    /// Creates a stand-in and its data.
    ///
    /// # Errors
    /// The address of a listener cannot be read.
    pub fn new(
        listeners: &Listeners,
        options: &Options,
        webhooks: Arc<dyn Webhooks>,
    ) -> std::io::Result<Arc<Self>> {
        let main = listener_origin(listeners.main_listener.local_addr()?);
        let addresses = Addresses {
            page_url: format!("{main}/"),
            base_url: format!("{main}{TENANT}/testmanager_"),
            token_url: format!("{main}{ORGANIZATION}/identity_/connect/token"),
            files_url: listener_origin(listeners.files_listener.local_addr()?),
        };
        let state = State {
            data_set: DataSet::new(options.seed, &addresses.base_url),
            faults: Faults::new(&options.faults),
            tokens: IssuedTokens::default(),
            rates: RateCounters::default(),
            requests: VecDeque::new(),
            page_state: PageState::new(options.webhook_url.clone()),
            defects: BTreeMap::new(),
        };
        Ok(Arc::new(Self { addresses, webhooks, state: Mutex::new(state) }))
    }

    /// Returns the addresses of this stand-in.
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
        let main = axum::serve(listeners.main_listener, main).into_future();
        let files = axum::serve(listeners.files_listener, files).into_future();
        tokio::try_join!(main, files).map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn listener_origin(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("http://localhost:{}", address.port()),
        false => format!("http://{address}"),
    }
}
