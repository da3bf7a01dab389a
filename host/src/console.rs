//! The console: pages for people, rendered by the server. They work without scripts, except for
//! what updates itself.
//!
//! Decides nothing: a page calls what the admin API's handlers call, and shows the answer. `frame`
//! knows who asks for a page, `page` is around every page, `parts` are building blocks, and
//! `routes` lists every page.

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
