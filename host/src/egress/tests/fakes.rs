//! Contains a resolver, a tracker and a journal that tests control.

use super::*;

/// Resolves names to the addresses that the test chose, and `localhost` to 127.0.0.1.
pub(crate) struct FakeResolver(pub(crate) Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

#[async_trait]
impl Resolver for FakeResolver {
    async fn resolve(&self, _: ConnectionId, name: &str) -> io::Result<Vec<IpAddr>> {
        if name == "localhost" {
            return Ok(vec![IpAddr::from([127, 0, 0, 1])]);
        }
        let mut names = self.0.lock().unwrap();
        let answers = names.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let first = answers.first().cloned().unwrap_or_default();
        if answers.len() > 1 {
            answers.remove(0);
        }
        Ok(first)
    }
}

/// A tracker on loopback. A function of the test answers the requests of each HTTP connection.
pub(crate) struct FakeTracker {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    /// What the test logged of the received requests. [`RequestLog::read`] logs head and body.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl FakeTracker {
    /// Starts a tracker that calls `script` for each TCP connection. The first argument is the
    /// number of the TCP connection, from 0.
    pub(crate) async fn scripted<F, Fut>(script: F) -> Self
    where
        F: Fn(usize, TcpStream, RequestLog) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::scripted_at(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    pub(crate) async fn scripted_at<F, Fut>(address: SocketAddr, script: F) -> Self
    where
        F: Fn(usize, TcpStream, RequestLog) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), RequestLog::default());
        let (accepted, log) = (Arc::clone(&connections), requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(number, stream, log.clone()));
            }
        });
        Self { address, connections, requests: requests.0 }
    }

    /// Starts a tracker that calls `answer` with the head and body of each request, and sends the
    /// complete response that `answer` returns. The tracker keeps its connections open.
    pub(crate) async fn answering(
        answer: impl Fn(&str) -> Vec<u8> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::scripted(move |_, mut stream, requests| {
            let answer = answer.clone();
            async move {
                while let Some(request) = requests.read(&mut stream).await {
                    stream.write_all(&answer(&request)).await.unwrap();
                }
            }
        })
        .await
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Default)]
pub(crate) struct RequestLog(pub(crate) Arc<Mutex<Vec<String>>>);

impl RequestLog {
    /// Reads and logs one request. Returns `None` if the stream ends before the end of the request.
    pub(crate) async fn read(&self, stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
        let request = read_request(stream).await?;
        self.0.lock().unwrap().push(request.clone());
        Some(request)
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    bytes.extend(body);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Closes a TCP connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

pub(crate) async fn read_to_end(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

pub(crate) fn marker() -> Marker {
    let test = FailedTest::new(Uuid::from_u128(1), Uuid::from_u128(2), None, None);
    Marker::derive(ConnectionId(Uuid::from_u128(3)), &test, 1)
}

/// A journal that commits when the test allows it. The journal records its marks.
pub(crate) struct TestJournal {
    /// Each requested commit waits for a permit of this semaphore, and uses it up.
    pub(crate) allowed_commits: Semaphore,
    /// This semaphore gets one permit for each commit that is requested.
    pub(crate) requested_commits: Semaphore,
    pub(crate) refuses_commits: AtomicBool,
    /// Whether the lease on the defect has ended when the first byte would be sent.
    pub(crate) is_lease_expired: AtomicBool,
    marker: Marker,
    marks: Mutex<Vec<&'static str>>,
}

impl TestJournal {
    /// Creates a journal that makes up to 100 commits without delay.
    pub(crate) fn allowing() -> Arc<Self> {
        let journal = Self::blocking();
        journal.allowed_commits.add_permits(100);
        journal
    }

    /// Creates a journal that commits only when the test adds a permit to `allowed_commits`.
    pub(crate) fn blocking() -> Arc<Self> {
        Arc::new(Self {
            allowed_commits: Semaphore::new(0),
            requested_commits: Semaphore::new(0),
            refuses_commits: AtomicBool::new(false),
            is_lease_expired: AtomicBool::new(false),
            marker: marker(),
            marks: Mutex::default(),
        })
    }

    /// Returns the recorded marks: `marked`, `marked with marker` or `unmarked`.
    pub(crate) fn marks(&self) -> Vec<&'static str> {
        self.marks.lock().unwrap().clone()
    }

    pub(crate) fn permission(self: &Arc<Self>) -> Permission {
        Permission::Writes(Arc::clone(self) as Arc<dyn Journal>)
    }
}

#[async_trait]
impl Journal for TestJournal {
    fn marker(&self) -> &Marker {
        &self.marker
    }

    fn may_send(&self) -> bool {
        !self.is_lease_expired.load(Ordering::SeqCst)
    }

    async fn mark_sending(&self, has_marker: bool) -> Result<(), NotJournaled> {
        self.requested_commits.add_permits(1);
        self.allowed_commits.acquire().await.unwrap().forget();
        if self.refuses_commits.load(Ordering::SeqCst) {
            return Err(NotJournaled("the lease was lost".to_owned()));
        }
        self.marks.lock().unwrap().push(if has_marker { "marked with marker" } else { "marked" });
        Ok(())
    }

    async fn unmark(&self) {
        self.marks.lock().unwrap().push("unmarked");
    }
}
