//! The words of the field as types: pure values and the two small traits that cross rooms.
//!
//! Never does I/O, never reads the clock, never knows a wire format (no serde here).

mod clock;
mod connection;
mod counts;
mod defect;
mod event;
mod failed_test;
mod journal;
mod limits;
mod origin;
mod refusal;

pub use clock::{Clock, SystemClock};
pub use connection::{
    Connection, ConnectionId, ConnectorName, Grants, InvalidName, SecretGrant, SecretPlace,
    Settings,
};
pub use counts::{CountTooLarge, Counts};
pub use defect::{
    Claimed, Decision, Defect, DefectId, DefectRecord, DefectState, Lease, RunnerId, Verdict,
};
pub use event::{
    Event, EventId, EventKind, LogLevel, LogLine, OutboundCall, Outcome, Received, RunReport, Usage,
};
pub use failed_test::{FailedTest, Marker};
pub use journal::{Effect, Journal, NotJournalled, WriteAnswer, WriteRecord, verdict};
pub use limits::{Limit, Limits, UnknownLimit};
pub use origin::{InvalidOrigin, Origin};
pub use refusal::{Breakage, Refusal};
