//! Catches the warnings that PostgreSQL sends with an answer. The driver only writes them to the
//! log, so a subscriber of the log reads them.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::LazyLock;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// What the driver's lines in the log belong to.
const NOTICES: &str = "sqlx::postgres::notice";

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs statements. Returns the last warning that PostgreSQL sent meanwhile, too.
pub(super) fn with_warning<T>(statements: impl FnOnce() -> T) -> (T, Option<String>) {
    // If there were only one subscriber, `tracing` would ask the subscriber of the thread that logs
    // first whether anybody wants the driver's lines, and never ask again.
    static CATCHER: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [Dispatch::new(Catcher), Dispatch::new(NoSubscriber::default())]);
    let [catcher, _] = &*CATCHER;
    LAST.take();
    let done = dispatcher::with_default(catcher, statements);
    (done, LAST.take())
}

struct Catcher;

impl Subscriber for Catcher {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == NOTICES && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Stores the message of an event.
struct Message;

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            LAST.set(Some(value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the driver does.
    fn notice(text: &str) {
        tracing::event!(target: NOTICES, Level::WARN, message = text);
    }

    #[test]
    fn only_warnings_of_the_statements_are_returned() {
        notice("before");
        let (done, warning) = with_warning(|| {
            tracing::warn!("of this server");
            tracing::info!(target: NOTICES, "not a warning");
            7
        });
        assert_eq!((done, warning), (7, None));
        let warning = with_warning(|| notice("canceling wait")).1;
        assert_eq!(warning.as_deref(), Some("canceling wait"));
        notice("after");
        assert_eq!(with_warning(|| ()).1, None);
    }
}
