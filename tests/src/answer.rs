//! A small HTTP client for the tests. It never follows a redirect.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::Value;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);

/// A complete answer of a server.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text; invalid UTF-8 is replaced.
    pub body: String,
}

impl Answer {
    /// Returns the value of the first header with this name, which must be in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks the status and returns the body as JSON, or null if the body is empty.
    #[track_caller]
    #[must_use]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks the status.
    #[track_caller]
    pub fn assert_status(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
    }

    /// Checks that the answer is a problem of RFC 9457 with this status and this code, the last
    /// part of the member `type`. Returns the member `detail`.
    #[track_caller]
    #[must_use]
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let content_type = self.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], status, "{self:?}");
        for member in ["type", "title", "detail", "instance"] {
            assert!(
                body[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member}: {self:?}"
            );
        }
        let problem_code = body["type"].as_str().and_then(|url| url.rsplit('/').next());
        assert_eq!(problem_code, Some(code), "{self:?}");
        body["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// Checks the answer as [`Self::problem`] does.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        let _ = self.problem(status, code);
    }

    /// Returns the header `jackfield-event`: the id of the event that the server recorded.
    #[track_caller]
    #[must_use]
    pub fn event(&self) -> String {
        self.header("jackfield-event")
            .unwrap_or_else(|| panic!("no header jackfield-event: {self:?}"))
            .to_owned()
    }
}

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    base_url: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Creates a client for URLs that start with `base_url`. The client adds `headers` to each
    /// request.
    #[must_use]
    pub fn new(base_url: &str, headers: &[(&str, &str)]) -> Self {
        Self::with_timeout(base_url, headers, REQUEST_TIMEOUT)
    }

    /// Like [`Self::new`], but `timeout` is the maximum time for each request.
    #[must_use]
    pub fn with_timeout(base_url: &str, headers: &[(&str, &str)], timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(timeout))
            .build();
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self { agent: config.into(), base_url: base_url.to_owned(), headers }
    }

    /// Sends a request. Returns `None` if there is no complete answer.
    pub fn attempt(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        self.try_send(method, path, headers, body).ok()
    }

    fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let (mut answer, bytes) = self.exchange(method, path, headers, body)?;
        answer.body = String::from_utf8_lossy(&bytes).into_owned();
        Ok(answer)
    }

    /// Sends a POST request with the header `connection: close`, so that the next request needs a
    /// new TCP connection. Returns `None` if the server refuses the TCP connection.
    ///
    /// # Errors
    /// If there is no complete answer for another reason.
    pub fn send_or_be_refused(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<Option<Answer>, ureq::Error> {
        let headers = [("content-type", "application/json"), ("connection", "close")];
        match self.try_send("POST", path, &headers, body.to_string().as_bytes()) {
            Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
            Err(ureq::Error::ConnectionFailed) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Downloads a file.
    #[track_caller]
    #[must_use]
    pub fn download(&self, path: &str) -> Vec<u8> {
        let (answer, bytes) = self.exchange("GET", path, &[], b"").expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        bytes
    }

    /// Sends a request. Returns the answer with an empty `body`, and the bytes of the real body.
    fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(Answer, Vec<u8>), ureq::Error> {
        let url = format!("{}{path}", self.base_url);
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(body.to_vec()).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        let mut response = self.agent.run(request)?;
        let text = |v: &ureq::http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        let headers =
            response.headers().iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(256 << 20).read_to_vec()?;
        Ok((Answer { status, headers, body: String::new() }, body))
    }

    /// Sends a request. Panics if there is no complete answer.
    #[track_caller]
    #[must_use]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body).unwrap_or_else(|error| {
            panic!("no answer to {method} {}{path}: {error}", self.base_url)
        })
    }

    /// Sends a GET.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Sends a request with a JSON body.
    #[track_caller]
    #[must_use]
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(
            method,
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }
}
