//! Tests that a write is journaled before its first byte is sent, that it is never sent twice, and
//! that it runs in its own task.

use super::*;
use crate::domain::WriteAnswer;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Sends a write in a separate task. The task represents the guest, which waits for the answer.
fn spawn_write(run_requests: &Arc<RunRequests>) -> JoinHandle<Result<OutboundResponse, HttpError>> {
    let run_requests = Arc::clone(run_requests);
    tokio::spawn(async move { run_requests.send(post(run_requests.url("/"), "{}")).await })
}

#[tokio::test]
async fn if_the_host_cannot_connect_nothing_is_journaled_or_sent() {
    let builder = RequestsBuilder::granting(&["http://127.0.0.1:1"]);
    let journal = TestJournal::allowing();
    let run_requests = builder.requests_with(journal.permission());
    assert!(matches!(
        run_requests.send(post(run_requests.url("/"), "")).await,
        Err(HttpError::Unreachable(_))
    ));
    let (_, writes) = run_requests.finish().await;
    assert_eq!(writes[0].answer, WriteAnswer::NotSent);
    assert!(journal.marks().is_empty());
}

/// Starts a tracker. The semaphore gets a permit when a client connects. The flag is set when the
/// first byte arrives.
async fn tracker_that_reports_arrivals() -> (FakeTracker, Arc<Semaphore>, Arc<AtomicBool>) {
    let (connected, byte_arrived) = (Arc::new(Semaphore::new(0)), Arc::<AtomicBool>::default());
    let (connected_signal, byte_signal) = (Arc::clone(&connected), Arc::clone(&byte_arrived));
    let tracker = FakeTracker::scripted(move |_, mut stream, requests| {
        let (connected_signal, byte_signal) =
            (Arc::clone(&connected_signal), Arc::clone(&byte_signal));
        async move {
            connected_signal.add_permits(1);
            let mut first = [0];
            if stream.peek(&mut first).await.is_ok_and(|count| count > 0) {
                byte_signal.store(true, Ordering::SeqCst);
            }
            if requests.read(&mut stream).await.is_some() {
                stream.write_all(&answer("201 Created", &[], b"{}")).await.unwrap();
            }
        }
    })
    .await;
    (tracker, connected, byte_arrived)
}

#[tokio::test]
async fn the_journal_commits_after_connecting_and_before_the_first_byte() {
    let (tracker, connected, byte_arrived) = tracker_that_reports_arrivals().await;
    let journal = TestJournal::blocking();
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    let sending = spawn_write(&run_requests);
    journal.requested_commits.acquire().await.unwrap().forget();
    connected.acquire().await.unwrap().forget();
    wait_for_bytes_in_transit().await;
    assert!(!byte_arrived.load(Ordering::SeqCst), "a byte was sent before the journal committed");
    journal.allowed_commits.add_permits(1);
    assert_eq!(sending.await.unwrap().unwrap().status, 201);
    assert!(byte_arrived.load(Ordering::SeqCst));
    assert_eq!(journal.marks(), ["marked"]);
}

#[tokio::test]
async fn a_connection_that_was_idle_during_a_slow_journal_commit_is_replaced() {
    let tracker = FakeTracker::answering(|_| answer("201 Created", &[], b"{}")).await;
    let journal = TestJournal::blocking();
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    let sending = spawn_write(&run_requests);
    journal.requested_commits.acquire().await.unwrap().forget();
    tokio::time::sleep(Duration::from_millis(1_050)).await; // the wait is what this test is about
    journal.allowed_commits.add_permits(1);
    assert_eq!(sending.await.unwrap().unwrap().status, 201);
    assert_eq!((tracker.connections(), tracker.requests().len()), (2, 1));
    assert_eq!(journal.marks(), ["marked"]);
}

#[tokio::test]
async fn the_idle_times_in_the_pool_and_during_the_journal_commit_are_added() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"{}")).await;
    let journal = TestJournal::blocking();
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    run_requests.send(get(run_requests.url("/"))).await.unwrap();
    // Each of the two waits is shorter than a second, but their sum is longer. The waits are what
    // this test is about.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sending = spawn_write(&run_requests);
    journal.requested_commits.acquire().await.unwrap().forget();
    assert_eq!(tracker.connections(), 1, "the write waits for its commit on the reused connection");
    tokio::time::sleep(Duration::from_millis(950)).await;
    journal.allowed_commits.add_permits(1);
    assert_eq!(sending.await.unwrap().unwrap().status, 200);
    assert_eq!((tracker.connections(), tracker.requests().len()), (2, 2));
    assert_eq!(journal.marks(), ["marked"]);
}

/// Makes an exchange over loopback, so that bytes that were sent earlier have time to arrive.
async fn wait_for_bytes_in_transit() {
    let tracker = FakeTracker::answering(|_| answer("200 OK", &[], b"")).await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).read_only_requests();
    run_requests.send(get(tracker.url("/"))).await.unwrap();
}

#[tokio::test]
async fn a_write_that_cannot_be_journaled_is_not_sent() {
    let (tracker, connected, byte_arrived) = tracker_that_reports_arrivals().await;
    let journal = TestJournal::allowing();
    journal.refuses_commits.store(true, Ordering::SeqCst);
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    assert!(is_denied(&run_requests.send(post(run_requests.url("/"), "{}")).await));
    connected.acquire().await.unwrap().forget();
    let (calls, writes) = run_requests.finish().await;
    assert_eq!(writes[0].answer, WriteAnswer::NotSent);
    assert!(calls[0].error.as_deref().is_some_and(|why| why.contains("the lease was lost")));
    wait_for_bytes_in_transit().await;
    assert!(!byte_arrived.load(Ordering::SeqCst) && tracker.requests().is_empty());
}

#[tokio::test]
async fn a_journaled_write_is_completed_after_its_guest_ended() {
    let (release, may_answer) = oneshot::channel::<()>();
    let may_answer = Arc::new(tokio::sync::Mutex::new(Some(may_answer)));
    let (arrived, arrival) = oneshot::channel();
    let arrived = Arc::new(Mutex::new(Some(arrived)));
    let tracker = FakeTracker::scripted(move |_, mut stream, requests| {
        let (may_answer, arrived) = (Arc::clone(&may_answer), Arc::clone(&arrived));
        async move {
            requests.read(&mut stream).await;
            arrived.lock().unwrap().take().unwrap().send(()).unwrap();
            may_answer.lock().await.take().unwrap().await.unwrap();
            stream.write_all(&answer("201 Created", &[], b"{}")).await.unwrap();
        }
    })
    .await;
    let journal = TestJournal::allowing();
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    let sending = spawn_write(&run_requests);
    arrival.await.unwrap();
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    let (calls, writes) = run_requests.finish().await;
    assert_eq!(writes[0].answer, WriteAnswer::Status(201));
    assert_eq!((calls[0].status, calls[0].bytes), (Some(201), 2));
    assert!(
        is_denied(&run_requests.send(post(run_requests.url("/"), "{}")).await),
        "the run has ended"
    );
}

#[tokio::test]
async fn writes_are_sent_one_after_another_and_no_write_begins_after_the_run_ended() {
    let (release, may_answer) = oneshot::channel::<()>();
    let may_answer = Arc::new(Mutex::new(Some(may_answer)));
    let tracker = FakeTracker::scripted(move |_, mut stream, requests| {
        let may_answer = may_answer.lock().unwrap().take();
        async move {
            requests.read(&mut stream).await;
            may_answer.unwrap().await.unwrap();
            stream.write_all(&answer("201 Created", &[], b"{}")).await.unwrap();
        }
    })
    .await;
    let journal = TestJournal::allowing();
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    let first = spawn_write(&run_requests);
    journal.requested_commits.acquire().await.unwrap().forget();
    let second = spawn_write(&run_requests);
    wait_for_bytes_in_transit().await;
    let (finished, ()) = tokio::join!(run_requests.finish(), async {
        wait_for_bytes_in_transit().await;
        release.send(()).unwrap();
    });
    assert_eq!(first.await.unwrap().unwrap().status, 201);
    assert!(is_denied(&second.await.unwrap()));
    let recorded: Vec<_> = finished.1.into_iter().map(|write| write.answer).collect();
    assert_eq!(recorded, [WriteAnswer::Status(201), WriteAnswer::NotSent]);
    assert_eq!((journal.marks(), tracker.requests().len()), (vec!["marked"], 1));
}

#[tokio::test]
async fn a_write_is_not_sent_if_the_journal_never_commits() {
    let (tracker, _, byte_arrived) = tracker_that_reports_arrivals().await;
    let mut builder = RequestsBuilder::granting(&[&tracker.origin()]);
    builder.run_time = Duration::from_millis(200);
    let journal = TestJournal::blocking();
    let run_requests = builder.requests_with(journal.permission());
    assert!(matches!(
        run_requests.send(post(run_requests.url("/"), "{}")).await,
        Err(HttpError::Unreachable(_))
    ));
    assert_eq!(run_requests.finish().await.1[0].answer, WriteAnswer::NotSent);
    assert_eq!(journal.marks(), ["unmarked"]);
    assert!(!byte_arrived.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_write_that_is_not_complete_at_the_deadline_is_in_doubt() {
    let tracker = FakeTracker::scripted(|_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        read_to_end(stream).await;
    })
    .await;
    let mut builder = RequestsBuilder::granting(&[&tracker.origin()]);
    builder.run_time = Duration::from_millis(300);
    let run_requests = builder.requests_with(TestJournal::allowing().permission());
    assert!(matches!(
        run_requests.send(post(run_requests.url("/"), "{}")).await,
        Err(HttpError::Interrupted(_))
    ));
    let (_, writes) = run_requests.finish().await;
    assert!(matches!(&writes[0].answer, WriteAnswer::Broken(why) if why.contains("limits.run_ms")));
}

#[tokio::test]
async fn a_write_on_a_reused_connection_that_was_closed_is_not_sent_again() {
    // The connection stays open after the first response. After the second request, the tracker
    // resets the connection.
    let tracker = FakeTracker::scripted(|number, mut stream, requests| async move {
        requests.read(&mut stream).await;
        stream.write_all(&answer("200 OK", &[], b"")).await.unwrap();
        requests.read(&mut stream).await;
        assert_eq!(number, 0);
        reset(stream);
    })
    .await;
    let journal = TestJournal::allowing();
    let run_requests =
        RequestsBuilder::granting(&[&tracker.origin()]).requests_with(journal.permission());
    run_requests.send(get(run_requests.url("/"))).await.unwrap();
    assert!(run_requests.send(post(run_requests.url("/"), "{}")).await.is_err());
    let (_, writes) = run_requests.finish().await;
    assert!(matches!(writes[0].answer, WriteAnswer::Broken(_)));
    assert_eq!(tracker.connections(), 1);
    assert_eq!(journal.marks(), ["marked"]);
}

#[tokio::test]
async fn a_write_does_not_use_an_idle_connection_that_was_closed() {
    let (close, closing) = oneshot::channel::<()>();
    let closing = Arc::new(Mutex::new(Some(closing)));
    let tracker = FakeTracker::scripted(move |_, mut stream, requests| {
        let closing = closing.lock().unwrap().take();
        async move {
            requests.read(&mut stream).await;
            stream.write_all(&answer("200 OK", &[], b"")).await.unwrap();
            if let Some(closing) = closing {
                closing.await.unwrap();
            }
        }
    })
    .await;
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()])
        .requests_with(TestJournal::allowing().permission());
    run_requests.send(get(run_requests.url("/"))).await.unwrap();
    close.send(()).unwrap();
    wait_for_bytes_in_transit().await;
    assert_eq!(run_requests.send(post(run_requests.url("/"), "{}")).await.unwrap().status, 200);
    assert_eq!(tracker.connections(), 2);
}

/// A journal that makes the tracker close the reused connection while a write is being journaled.
struct ClosingJournal {
    inner: Arc<TestJournal>,
    close: Mutex<Option<oneshot::Sender<()>>>,
    /// How many writes are journaled before the write whose HTTP connection is closed.
    earlier_writes: usize,
}

#[async_trait]
impl Journal for ClosingJournal {
    fn marker(&self) -> &Marker {
        self.inner.marker()
    }

    fn may_send(&self) -> bool {
        self.inner.may_send()
    }

    async fn mark_sending(&self, has_marker: bool) -> Result<(), NotJournaled> {
        if self.inner.marks().len() == self.earlier_writes {
            self.close.lock().unwrap().take().unwrap().send(()).unwrap();
            wait_for_bytes_in_transit().await;
        }
        self.inner.mark_sending(has_marker).await
    }

    async fn unmark(&self) {
        self.inner.unmark().await;
    }
}

/// Sends the request that `first` makes. After it, sends a write whose HTTP connection is closed
/// before a byte is sent. Returns the marks of the journal and the answers in the record.
async fn send_first_then_a_write_that_fails(
    first: fn(String) -> OutboundRequest,
) -> (Vec<&'static str>, Vec<WriteAnswer>) {
    let (close, closing) = oneshot::channel::<()>();
    let closing = Arc::new(Mutex::new(Some(closing)));
    let tracker = FakeTracker::scripted(move |_, mut stream, requests| {
        let closing = closing.lock().unwrap().take();
        async move {
            requests.read(&mut stream).await;
            stream.write_all(&answer("200 OK", &[], b"")).await.unwrap();
            closing.unwrap().await.unwrap();
        }
    })
    .await;
    let first = first(tracker.url("/"));
    let earlier_writes = usize::from(first.method == Method::POST);
    let journal = TestJournal::allowing();
    let close = Mutex::new(Some(close));
    let closing = ClosingJournal { inner: Arc::clone(&journal), close, earlier_writes };
    let permission = Permission::Writes(Arc::new(closing));
    let run_requests = RequestsBuilder::granting(&[&tracker.origin()]).requests_with(permission);
    run_requests.send(first).await.unwrap();
    let error = run_requests.send(post(run_requests.url("/"), "{}")).await.unwrap_err();
    assert!(matches!(error, HttpError::Unreachable(_)), "{error}");
    assert_eq!((tracker.requests().len(), tracker.connections()), (1, 1));
    (journal.marks(), run_requests.finish().await.1.into_iter().map(|write| write.answer).collect())
}

#[tokio::test]
async fn a_write_that_was_provably_not_sent_is_unmarked() {
    let (marks, writes) = send_first_then_a_write_that_fails(get).await;
    assert_eq!((marks, writes), (vec!["marked", "unmarked"], vec![WriteAnswer::NotSent]));
}

#[tokio::test]
async fn a_write_that_was_not_sent_does_not_remove_the_mark_of_the_write_before_it() {
    let (marks, writes) = send_first_then_a_write_that_fails(|url| post(url, "{}")).await;
    assert_eq!(marks, ["marked", "marked"]);
    assert_eq!(writes, [WriteAnswer::Status(200), WriteAnswer::NotSent]);
}
