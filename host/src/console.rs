//! The console: web pages for people, rendered by the server. A person can make all changes without
//! JavaScript.
//!
//! The console never makes decisions of its own. To make a change, a page calls the same functions
//! as the handlers of the admin API.

mod accounts;
mod audit;
mod chart;
mod confirm;
mod connections;
mod connectors;
mod cookie;
mod defects;
mod event;
mod events;
mod flash;
mod form;
mod frame;
mod listing;
mod overview;
mod page;
mod parts;
mod replay;
mod routes;
mod theme;
mod unrecognised;

pub(crate) use routes::routes;
