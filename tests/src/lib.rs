//! The test harness. It runs the built server as a child process, real servers such as Redmine and
//! PostgreSQL, and servers with scripted answers. It never calls the server's code.
//!
//! By default, servers listen on ports that the system chooses, so that tests can run in parallel.
//! By default, a function panics if one of its steps fails, so that the test fails.

mod answer;
mod clicks;
mod connector_folder;
mod cuttable_relay;
mod database;
mod evidence;
mod gate;
mod guests;
mod host;
mod host_state;
mod identity_provider;
mod long;
mod memory_group;
mod metrics_page;
mod moment;
mod namespaces;
mod own_network;
mod postgres;
mod process;
mod random;
mod redmine;
mod redmine_connection;
mod relay;
mod repository;
mod request_tracker;
mod scripted_server;
mod set_clock;
mod setup;
mod simulated_test_manager;
mod strace;
mod wait;
pub mod wasm;
mod wire;

pub use answer::{Answer, Client};
pub use clicks::{Click, failed_test};
pub use connector_folder::{ConnectorFolder, EndedCommand};
pub use cuttable_relay::CuttableRelay;
pub use database::{age_counts, defect_states, with_database};
pub use evidence::{Evidence, EvidenceFile, webhook_body};
pub use gate::Gate;
pub use guests::{Guest, sha256};
pub use host::{Connection, TestHost};
pub use identity_provider::IdentityProvider;
pub use long::{api_fuzz_time, cases, is_long, rounds, soak_times};
pub use memory_group::MemoryGroup;
pub use metrics_page::MetricsPage;
pub use moment::Moment;
pub use namespaces::Namespace;
pub use own_network::{NameServer, run_in_own_network};
pub use postgres::Postgres;
pub use random::{Random, seed};
pub use redmine::{Issue, IssueFile, Project, Redmine, as_shown};
pub use redmine_connection::{RedmineConnection, RedmineFixture, merge};
pub use relay::{BytesHook, ConnectionHooks, start_relay};
pub use repository::{binary, root, target, xtask};
pub use request_tracker::RequestTracker;
pub use scripted_server::{Exchange, Reply, ScriptedServer, lose_writes, unreachable_url};
pub use set_clock::WallClock;
pub use setup::{Setup, empty_home};
pub use simulated_test_manager::SimulatedTestManager;
pub use strace::{KillPoint, Strace};
pub use wait::wait_for;
pub use wire::{Request, Response};
