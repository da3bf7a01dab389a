//! The path of a write: journalled before its first byte, never sent twice, recorded for what is
//! known of it.

use super::*;
use crate::domain::{WriteAnswer, WriteRecord};
use tokio::sync::oneshot;

/// One write against a tracker that does this with its connection.
async fn written<F, Fut>(script: F) -> (Result<OutboundResponse, HttpError>, WriteAnswer, Tracker)
where
    F: Fn(usize, TcpStream, Requests) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let tracker = Tracker::scripted(script).await;
    let mut bench = Bench::granting(&[&tracker.origin()]);
    bench.limits.response_body_bytes = 1000;
    let gate = Gate::open();
    let session = bench.session(gate.permission());
    let answer = session.send(post("/issues.json", "{}")).await;
    let (_, writes) = session.finish().await;
    let [WriteRecord { answer: came, what, .. }] = <[WriteRecord; 1]>::try_from(writes).unwrap();
    assert_eq!(what, format!("POST {}/issues.json", tracker.origin()));
    let taken_back = gate.moves() == ["sent", "unsent"];
    assert_eq!(taken_back, came == WriteAnswer::NotSent, "{:?}", gate.moves());
    (answer, came, tracker)
}

/// Answers the first request with these bytes and closes.
async fn answered(bytes: &'static [u8]) -> (Result<OutboundResponse, HttpError>, WriteAnswer) {
    let (answer, came, tracker) = written(move |_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        stream.write_all(bytes).await.unwrap();
    })
    .await;
    assert_eq!(tracker.connections(), 1, "a write is sent once");
    (answer, came)
}

#[tokio::test]
async fn a_whole_answer_is_known_by_its_status() {
    for (bytes, status) in [
        (&b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}"[..], 201),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", 201),
        (b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 422 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 422),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 500),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nbytes", 101),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
    ] {
        let (answer, came) = answered(bytes).await;
        assert_eq!(came, WriteAnswer::Status(status));
        assert_eq!(answer.unwrap().status, status);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_whole_leaves_doubt() {
    for bytes in [
        &b"HTTP/1.1 201 Created\r\ncontent-length: 10\r\n\r\n{}"[..],
        b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\nnonsense",
        b"HTTP/1.1 201 Created\r\ncontent-",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"no HTTP at all\r\n\r\n",
        b"",
    ] {
        let (answer, came) = answered(bytes).await;
        assert!(matches!(came, WriteAnswer::Broken(_)), "{came:?}");
        assert!(matches!(answer, Err(HttpError::Interrupted(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn the_head_of_a_refusal_is_enough() {
    let (answer, came) = answered(b"HTTP/1.1 422 No\r\ncontent-length: 10\r\n\r\n{}").await;
    assert_eq!(came, WriteAnswer::Status(422));
    assert!(matches!(answer, Err(HttpError::Interrupted(_))));
}

#[tokio::test]
async fn an_answer_past_the_limit_leaves_doubt() {
    let (answer, came, _) = written(|_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        let _ = stream.write_all(&super::answer("201 Created", &[], &[b'x'; 1001])).await;
        drain(stream).await;
    })
    .await;
    assert!(matches!(came, WriteAnswer::Broken(why) if why.contains("answered 201")));
    assert!(matches!(answer, Err(HttpError::Limit(_))));
}

#[tokio::test]
async fn a_reset_leaves_doubt_unless_nothing_left() {
    let (answer, came, tracker) = written(|_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        reset(stream);
    })
    .await;
    assert!(matches!(came, WriteAnswer::Broken(_)) && answer.is_err());
    assert_eq!(tracker.connections(), 1);
    // Half the request, then a reset.
    let (_, came, _) = written(|_, mut stream, _| async move {
        stream.read_exact(&mut [0; 20]).await.unwrap();
        reset(stream);
    })
    .await;
    assert!(matches!(came, WriteAnswer::Broken(_)));
    // Reset before the request: whichever side is faster, the record agrees with the journal.
    let (answer, came, _) = written(|_, stream, _| async move { reset(stream) }).await;
    assert!(!matches!(came, WriteAnswer::Status(_)) && answer.is_err());
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_sends_and_journals_nothing() {
    let bench = Bench::granting(&["http://127.0.0.1:1"]);
    let gate = Gate::open();
    let session = bench.session(gate.permission());
    assert!(matches!(session.send(post("/", "")).await, Err(HttpError::Unreachable(_))));
    let (_, writes) = session.finish().await;
    assert_eq!(writes[0].answer, WriteAnswer::NotSent);
    assert!(gate.moves().is_empty());
}

/// A tracker that tells when it is connected to and when the first byte arrives.
async fn watched() -> (Tracker, Arc<Semaphore>, Arc<AtomicBool>) {
    let (connected, byte) = (Arc::new(Semaphore::new(0)), Arc::<AtomicBool>::default());
    let (tell, arrived) = (Arc::clone(&connected), Arc::clone(&byte));
    let tracker = Tracker::scripted(move |_, mut stream, requests| {
        let (tell, arrived) = (Arc::clone(&tell), Arc::clone(&arrived));
        async move {
            tell.add_permits(1);
            let mut first = [0];
            if stream.peek(&mut first).await.is_ok_and(|count| count > 0) {
                arrived.store(true, Ordering::SeqCst);
            }
            if requests.read(&mut stream).await.is_some() {
                stream.write_all(&answer("201 Created", &[], b"{}")).await.unwrap();
            }
        }
    })
    .await;
    (tracker, connected, byte)
}

#[tokio::test]
async fn the_journal_comes_after_the_connection_and_before_the_first_byte() {
    let (tracker, connected, byte) = watched().await;
    let gate = Gate::shut();
    let session = Bench::granting(&[&tracker.origin()]).session(gate.permission());
    let sending = tokio::spawn({
        let session = Arc::clone(&session);
        async move { session.send(post("/", "{}")).await }
    });
    gate.asked.acquire().await.unwrap().forget();
    connected.acquire().await.unwrap().forget();
    round_trip().await;
    assert!(!byte.load(Ordering::SeqCst), "a byte left before the journal");
    gate.open.add_permits(1);
    assert_eq!(sending.await.unwrap().unwrap().status, 201);
    assert!(byte.load(Ordering::SeqCst));
    assert_eq!(gate.moves(), ["sent"]);
}

#[tokio::test]
async fn a_connection_that_was_idle_while_the_journal_was_slow_is_not_used() {
    let tracker = Tracker::answering(|_| answer("201 Created", &[], b"{}")).await;
    let gate = Gate::shut();
    let session = Bench::granting(&[&tracker.origin()]).session(gate.permission());
    let sending = tokio::spawn({
        let session = Arc::clone(&session);
        async move { session.send(post("/", "{}")).await }
    });
    gate.asked.acquire().await.unwrap().forget();
    tokio::time::sleep(Duration::from_millis(1_050)).await; // the wait is the thing under test
    gate.open.add_permits(1);
    assert_eq!(sending.await.unwrap().unwrap().status, 201);
    assert_eq!((tracker.connections(), tracker.requests().len()), (2, 1));
    assert_eq!(gate.moves(), ["sent"]);
}

/// Lets everything happen that is already on its way over loopback.
async fn round_trip() {
    let tracker = Tracker::answering(|_| answer("200 OK", &[], b"")).await;
    Bench::granting(&[&tracker.origin()]).reading().send(get("/")).await.unwrap();
}

#[tokio::test]
async fn a_write_that_cannot_be_journalled_does_not_leave() {
    let (tracker, connected, byte) = watched().await;
    let gate = Gate::open();
    gate.refuses.store(true, Ordering::SeqCst);
    let session = Bench::granting(&[&tracker.origin()]).session(gate.permission());
    assert!(is_denied(&session.send(post("/", "{}")).await));
    connected.acquire().await.unwrap().forget();
    let (calls, writes) = session.finish().await;
    assert_eq!(writes[0].answer, WriteAnswer::NotSent);
    assert!(calls[0].error.as_deref().is_some_and(|why| why.contains("the lease was lost")));
    round_trip().await;
    assert!(!byte.load(Ordering::SeqCst) && tracker.requests().is_empty());
}

#[tokio::test]
async fn a_guest_that_is_gone_changes_nothing() {
    let (release, held) = oneshot::channel::<()>();
    let held = Arc::new(tokio::sync::Mutex::new(Some(held)));
    let (arrived, wait) = oneshot::channel();
    let arrived = Arc::new(Mutex::new(Some(arrived)));
    let tracker = Tracker::scripted(move |_, mut stream, requests| {
        let (held, arrived) = (Arc::clone(&held), Arc::clone(&arrived));
        async move {
            requests.read(&mut stream).await;
            arrived.lock().unwrap().take().unwrap().send(()).unwrap();
            held.lock().await.take().unwrap().await.unwrap();
            stream.write_all(&answer("201 Created", &[], b"{}")).await.unwrap();
        }
    })
    .await;
    let gate = Gate::open();
    let session = Bench::granting(&[&tracker.origin()]).session(gate.permission());
    let sending = tokio::spawn({
        let session = Arc::clone(&session);
        async move { session.send(post("/", "{}")).await }
    });
    wait.await.unwrap();
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    let (calls, writes) = session.finish().await;
    assert_eq!(writes[0].answer, WriteAnswer::Status(201));
    assert_eq!((calls[0].status, calls[0].bytes), (Some(201), 2));
    assert!(is_denied(&session.send(post("/", "{}")).await), "the run is over");
}

#[tokio::test]
async fn writes_take_turns_and_none_begins_once_the_run_is_over() {
    let (release, held) = oneshot::channel::<()>();
    let held = Arc::new(Mutex::new(Some(held)));
    let tracker = Tracker::scripted(move |_, mut stream, requests| {
        let held = held.lock().unwrap().take();
        async move {
            requests.read(&mut stream).await;
            held.unwrap().await.unwrap();
            stream.write_all(&answer("201 Created", &[], b"{}")).await.unwrap();
        }
    })
    .await;
    let gate = Gate::open();
    let session = Bench::granting(&[&tracker.origin()]).session(gate.permission());
    let send = || {
        let session = Arc::clone(&session);
        tokio::spawn(async move { session.send(post("/", "{}")).await })
    };
    let first = send();
    gate.asked.acquire().await.unwrap().forget();
    let second = send();
    round_trip().await;
    let (finished, ()) = tokio::join!(session.finish(), async {
        round_trip().await;
        release.send(()).unwrap();
    });
    assert_eq!(first.await.unwrap().unwrap().status, 201);
    assert!(is_denied(&second.await.unwrap()));
    let came: Vec<_> = finished.1.into_iter().map(|write| write.answer).collect();
    assert_eq!(came, [WriteAnswer::Status(201), WriteAnswer::NotSent]);
    assert_eq!((gate.moves(), tracker.requests().len()), (vec!["sent"], 1));
}

#[tokio::test]
async fn a_journal_that_does_not_answer_lets_nothing_out() {
    let (tracker, _, byte) = watched().await;
    let mut bench = Bench::granting(&[&tracker.origin()]);
    bench.run = Duration::from_millis(200);
    let gate = Gate::shut();
    let session = bench.session(gate.permission());
    assert!(matches!(session.send(post("/", "{}")).await, Err(HttpError::Unreachable(_))));
    assert_eq!(session.finish().await.1[0].answer, WriteAnswer::NotSent);
    assert_eq!(gate.moves(), ["unsent"]);
    assert!(!byte.load(Ordering::SeqCst));
}

#[tokio::test]
async fn at_the_deadline_a_write_under_way_is_in_doubt() {
    let tracker = Tracker::scripted(|_, mut stream, requests| async move {
        requests.read(&mut stream).await;
        drain(stream).await;
    })
    .await;
    let mut bench = Bench::granting(&[&tracker.origin()]);
    bench.run = Duration::from_millis(300);
    let session = bench.session(Gate::open().permission());
    assert!(matches!(session.send(post("/", "{}")).await, Err(HttpError::Interrupted(_))));
    let (_, writes) = session.finish().await;
    assert!(matches!(&writes[0].answer, WriteAnswer::Broken(why) if why.contains("limits.run_ms")));
}

#[tokio::test]
async fn a_kept_connection_that_is_gone_is_not_tried_twice() {
    // The first answer keeps the connection; the tracker drops it when the next request arrives.
    let tracker = Tracker::scripted(|number, mut stream, requests| async move {
        requests.read(&mut stream).await;
        stream.write_all(&answer("200 OK", &[], b"")).await.unwrap();
        requests.read(&mut stream).await;
        assert_eq!(number, 0);
        reset(stream);
    })
    .await;
    let gate = Gate::open();
    let session = Bench::granting(&[&tracker.origin()]).session(gate.permission());
    session.send(get("/")).await.unwrap();
    assert!(session.send(post("/", "{}")).await.is_err());
    let (_, writes) = session.finish().await;
    assert!(matches!(writes[0].answer, WriteAnswer::Broken(_)));
    assert_eq!(tracker.connections(), 1);
    assert_eq!(gate.moves(), ["sent"]);
}

#[tokio::test]
async fn a_connection_that_closed_while_it_was_kept_costs_a_write_nothing() {
    let (close, closing) = oneshot::channel::<()>();
    let closing = Arc::new(Mutex::new(Some(closing)));
    let tracker = Tracker::scripted(move |_, mut stream, requests| {
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
    let session = Bench::granting(&[&tracker.origin()]).session(Gate::open().permission());
    session.send(get("/")).await.unwrap();
    close.send(()).unwrap();
    round_trip().await;
    assert_eq!(session.send(post("/", "{}")).await.unwrap().status, 200);
    assert_eq!(tracker.connections(), 2);
}

/// A journal under which a kept connection closes while a write is being journalled.
struct Closing {
    gate: Arc<Gate>,
    close: Mutex<Option<oneshot::Sender<()>>>,
    before: usize,
}

#[async_trait]
impl Journal for Closing {
    async fn sent(&self) -> Result<(), NotJournalled> {
        if self.gate.moves().len() == self.before {
            self.close.lock().unwrap().take().unwrap().send(()).unwrap();
            round_trip().await;
        }
        self.gate.sent().await
    }

    async fn unsent(&self) {
        self.gate.unsent().await;
    }
}

/// What the journal saw of one request, then a write whose connection closes before it leaves.
async fn came_back(first: fn() -> OutboundRequest) -> (Vec<&'static str>, Vec<WriteAnswer>) {
    let (close, closing) = oneshot::channel::<()>();
    let closing = Arc::new(Mutex::new(Some(closing)));
    let tracker = Tracker::scripted(move |_, mut stream, requests| {
        let closing = closing.lock().unwrap().take();
        async move {
            requests.read(&mut stream).await;
            stream.write_all(&answer("200 OK", &[], b"")).await.unwrap();
            closing.unwrap().await.unwrap();
        }
    })
    .await;
    let before = usize::from(first().method == Method::POST);
    let gate = Gate::open();
    let close = Mutex::new(Some(close));
    let journal = Arc::new(Closing { gate: Arc::clone(&gate), close, before });
    let session = Bench::granting(&[&tracker.origin()]).session(Permission::Writes(journal));
    session.send(first()).await.unwrap();
    let error = session.send(post("/", "{}")).await.unwrap_err();
    assert!(matches!(error, HttpError::Unreachable(_)), "{error}");
    assert_eq!((tracker.requests().len(), tracker.connections()), (1, 1));
    (gate.moves(), session.finish().await.1.into_iter().map(|write| write.answer).collect())
}

#[tokio::test]
async fn a_write_that_comes_back_is_taken_back() {
    let (moves, writes) = came_back(|| get("/")).await;
    assert_eq!((moves, writes), (vec!["sent", "unsent"], vec![WriteAnswer::NotSent]));
}

#[tokio::test]
async fn a_write_that_comes_back_does_not_undo_the_one_before_it() {
    let (moves, writes) = came_back(|| post("/", "{}")).await;
    assert_eq!(moves, ["sent", "sent"]);
    assert_eq!(writes, [WriteAnswer::Status(200), WriteAnswer::NotSent]);
}
