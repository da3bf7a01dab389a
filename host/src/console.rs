//! The console: web pages for people, rendered by the server. A person can make all changes without
//! JavaScript. Pages that update themselves, previews of reports and copy buttons need JavaScript.
//!
//! The console never makes decisions of its own. To make a change, a page calls the same functions
//! as the handlers of the admin API, and shows the result. `frame` finds out which account requests
//! a page. `page` contains the layout of every page, `parts` contains building blocks, and `routes`
//! lists every page.

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
