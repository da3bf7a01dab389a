//! Catches the warnings that PostgreSQL sends with an answer. The driver `sqlx` only logs these
//! warnings, so a subscriber of the log reads them. Never catches the warnings of other threads.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::LazyLock;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// The target under which the driver logs PostgreSQL's messages.
const NOTICE_TARGET: &str = "sqlx::postgres::notice";

thread_local! {
    /// The last warning that the driver logged in this thread during [`catch_warning`].
    static LAST_WARNING: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `statements`. Returns their result, and the last warning that PostgreSQL sent during them.
pub(super) fn catch_warning<T>(statements: impl FnOnce() -> T) -> (T, Option<String>) {
    // A second subscriber must exist. With a single subscriber, `tracing` asks only once whether
    // the driver's messages are needed: it asks the subscriber of the thread that logs first, and
    // keeps the answer.
    static SUBSCRIBERS: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
        [Dispatch::new(WarningSubscriber), Dispatch::new(NoSubscriber::default())]
    });
    let [catcher, _] = &*SUBSCRIBERS;
    LAST_WARNING.take();
    let done = dispatcher::with_default(catcher, statements);
    (done, LAST_WARNING.take())
}

/// A subscriber that enables only the driver's warnings and errors.
struct WarningSubscriber;

impl Subscriber for WarningSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == NOTICE_TARGET && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut MessageVisitor);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct MessageVisitor;

impl Visit for MessageVisitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            LAST_WARNING.set(Some(value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logs a warning in the same way as the driver.
    fn log_notice(text: &str) {
        tracing::event!(target: NOTICE_TARGET, Level::WARN, message = text);
    }

    #[test]
    fn only_warnings_that_the_driver_logs_during_the_statements_are_returned() {
        log_notice("before");
        let (done, warning) = catch_warning(|| {
            tracing::warn!("of this server");
            tracing::info!(target: NOTICE_TARGET, "not a warning");
            7
        });
        assert_eq!((done, warning), (7, None));
        let warning = catch_warning(|| log_notice("canceling wait")).1;
        assert_eq!(warning.as_deref(), Some("canceling wait"));
        log_notice("after");
        assert_eq!(catch_warning(|| ()).1, None);
    }
}
