//! The console: pages for people, rendered by the server. They work without scripts, except for
//! what updates itself.
//!
//! Decides nothing: a page calls what the admin API's handlers call, and shows the answer. `frame`
//! knows who asks for a page, `page` is around every page, `parts` are building blocks.

pub(super) mod accounts;
pub(super) mod assets;
pub(super) mod audit;
mod chart;
mod confirm;
pub(super) mod connections;
pub(super) mod connectors;
mod cookie;
pub(super) mod defects;
pub(super) mod event;
pub(super) mod events;
mod flash;
mod form;
pub(super) mod frame;
mod listing;
pub(super) mod overview;
mod page;
mod parts;
pub(super) mod replay;
pub(super) mod theme;
pub(super) mod unrecognised;
