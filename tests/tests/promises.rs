//! The promises, each proved in a file of its own, on the built binary.

#[path = "promises/admin.rs"]
mod admin;
#[path = "promises/bad_input.rs"]
mod bad_input;
#[path = "promises/beside.rs"]
mod beside;
#[path = "promises/cli.rs"]
mod cli;
#[path = "promises/compiling.rs"]
mod compiling;
#[path = "promises/consent.rs"]
mod consent;
#[path = "promises/creates.rs"]
mod creates;
#[path = "promises/deaths.rs"]
mod deaths;
#[path = "promises/demo.rs"]
mod demo;
#[path = "promises/disk.rs"]
mod disk;
#[path = "promises/durable.rs"]
mod durable;
#[path = "promises/egress.rs"]
mod egress;
#[path = "promises/events.rs"]
mod events;
#[path = "promises/faults.rs"]
mod faults;
#[path = "promises/harness.rs"]
mod harness;
#[path = "promises/kills.rs"]
mod kills;
#[path = "promises/model.rs"]
mod model;
#[path = "promises/once.rs"]
mod once;
#[path = "promises/rebinding.rs"]
mod rebinding;
#[path = "promises/reload.rs"]
mod reload;
#[path = "promises/secrets.rs"]
mod secrets;
#[path = "promises/shutdown.rs"]
mod shutdown;
#[path = "promises/soak.rs"]
mod soak;
#[path = "promises/walls.rs"]
mod walls;
