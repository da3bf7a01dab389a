//! The console: web pages for people, rendered by the server. The pages work without JavaScript,
//! except that they do not update themselves then.
//!
//! The console decides nothing: a page calls the same functions as the handlers of the admin API,
//! and shows the result. `frame` finds out who requests a page, `page` contains the layout of every
//! page, `parts` contains building blocks, and `routes` lists every page.

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
