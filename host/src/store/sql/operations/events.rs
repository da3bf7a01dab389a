//! Decides for each operation on events and recordings which thread runs it and whether it is
//! durable.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{
    ConnectionId, Event, EventId, RecentEvents, RecentUsage, RecordedRun, RunReport, TimedSteps,
};
use crate::store::sql::unwritten_history::HistoryRecord;
use crate::store::sql::writer::Durability::{Durable, Lazy};
use crate::store::sql::{SqlStore, connections, events, recent_events, recordings, usage};
use crate::store::{EventFilter, EventStore, Retention, StoreError, WholeEvent};

#[async_trait]
impl EventStore for SqlStore {
    fn record_event(&self, event: Event) {
        let (id, steps, runs) = (event.id, TimedSteps::default(), Vec::new());
        self.writer.record(HistoryRecord::Event { id, event: Some(event), steps, runs });
    }

    fn record_timed_steps(&self, id: EventId, steps: TimedSteps) {
        self.writer.record(HistoryRecord::Event { id, event: None, steps, runs: Vec::new() });
    }

    fn record_run(&self, id: EventId, run: RunReport) {
        let steps = TimedSteps::default();
        self.writer.record(HistoryRecord::Event { id, event: None, steps, runs: vec![run] });
    }

    fn discard_event(&self, id: EventId) {
        self.writer.record(HistoryRecord::DiscardEvent(id));
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        let filter = filter.clone();
        self.readers.run(move |db| events::list(db, &filter)).await
    }

    async fn recent_events(&self, now: Timestamp) -> Result<RecentEvents, StoreError> {
        self.readers.run(move |db| recent_events::count(db, now)).await
    }

    async fn recent_usage(
        &self,
        connections: Vec<ConnectionId>,
    ) -> Result<Option<RecentUsage>, StoreError> {
        self.readers.run(move |db| usage::read_recent(db, &connections)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<WholeEvent>, StoreError> {
        self.readers.run(move |db| events::get(db, id)).await
    }

    async fn set_recording_until(
        &self,
        id: ConnectionId,
        until: Option<Timestamp>,
        erase: bool,
    ) -> Result<(), StoreError> {
        self.writer
            .run(Durable, move |db| recordings::set_recording_until(db, id, until, erase))
            .await
    }

    async fn recording(&self, event: EventId) -> Result<Vec<RecordedRun>, StoreError> {
        self.readers.run(move |db| recordings::list(db, event)).await
    }

    async fn prune(&self, retention: Retention) -> Result<(), StoreError> {
        let excess = self.readers.run(move |db| events::find_excess(db, retention)).await?;
        loop {
            let excess = excess.clone();
            let delete = self.writer.run(Lazy, move |db| events::delete_some(db, excess));
            if !delete.await? {
                break;
            }
        }
        while self.writer.run(Lazy, connections::delete_some_remaining_rows).await? {}
        Ok(())
    }
}
