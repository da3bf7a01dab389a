//! The client of the admin API: sends typed requests, and turns each failure into one line that
//! says what to do.
//!
//! Never prints a token, never follows a redirect, never uses a proxy. A proxy would see the admin
//! token if the server has no TLS, and would connect to itself if the server's address is a
//! loopback address.

use std::fs::File;
use std::marker::PhantomData;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use uuid::Uuid;

use crate::api::{CLI_USER_AGENT, Connection, Problem};
use crate::secret::Secret;
use crate::transport::{crypto, system_certificates};

use super::ordered::Json;
use super::output::one_line;
use super::server::ADMIN_TOKEN_VARIABLE;

/// Longer than the maximum of every limit on the time of an answer or of a run.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(660);
/// How long a health check waits.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of an answer. It is several times the size of the largest page: 200 events.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A successful answer: the JSON as the server sent it (for `--json`), which can be decoded as `T`.
pub(super) struct Answer<T> {
    text: String,
    json: Json,
    event: Option<Uuid>,
    decoded: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Answer<T> {
    /// The answer as the server sent it.
    pub(super) fn json(&self) -> &Json {
        &self.json
    }

    /// The event of a webhook request.
    pub(super) fn event(&self) -> Option<Uuid> {
        self.event
    }

    /// The answer as a value of its type.
    pub(super) fn decode(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.text).context(
            "cannot read the server's answer: use the same version of jackfield as the server, or \
             --json",
        )
    }
}

/// The admin API of one server.
pub(super) struct Client {
    base: String,
    token: Secret,
    agent: ureq::Agent,
}

impl Client {
    pub(super) fn new(base: &str, token: Secret) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { base, token, agent: agent(REQUEST_TIMEOUT) }
    }

    /// GET below `/api/v1`.
    pub(super) fn get<T>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        success(self.send(Method::GET, path, Content::Nothing)?)
    }

    /// POST below `/api/v1`.
    pub(super) fn post<B: Serialize, T>(&self, path: &str, body: &B) -> anyhow::Result<Answer<T>> {
        success(self.send(Method::POST, path, Content::json(body)?)?)
    }

    /// PATCH below `/api/v1`, if the record has this revision.
    pub(super) fn patch<B: Serialize, T>(
        &self,
        path: &str,
        body: &B,
        revision: u64,
    ) -> anyhow::Result<Answer<T>> {
        let content = Content::Edit(serde_json::to_string(body)?, revision);
        success(self.send(Method::PATCH, path, content)?)
    }

    /// PUT of a file below `/api/v1`.
    pub(super) fn put_file<T>(&self, path: &str, file: File) -> anyhow::Result<Answer<T>> {
        success(self.send(Method::PUT, path, Content::File(file))?)
    }

    /// DELETE below `/api/v1`.
    pub(super) fn delete<T>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        success(self.send(Method::DELETE, path, Content::Nothing)?)
    }

    /// Whether the server answers a health check.
    pub(super) fn is_healthy(&self) -> bool {
        is_healthy(&self.base)
    }

    /// The connection of this name or id.
    pub(super) fn connection(&self, name: &str) -> anyhow::Result<Answer<Connection>> {
        self.get_by_name("connection", name)
    }

    /// GET the connection, connector, defect or event with this name or id; `kind` says which it
    /// is.
    pub(super) fn get_by_name<T>(&self, kind: &str, name: &str) -> anyhow::Result<Answer<T>> {
        let path = format!("/{kind}s/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        let response = self.send(Method::GET, &path, Content::Nothing)?;
        if response.status == 404 && response.problem().is_some() {
            bail!("there is no {kind} {name:?}: run `jackfield {kind}s list` to see all");
        }
        success(response)
    }

    /// The path of the connection of this name or id.
    pub(super) fn connection_path(&self, name: &str) -> anyhow::Result<String> {
        Ok(format!("/connections/{}", self.connection(name)?.decode()?.id))
    }

    fn send(&self, method: Method, path: &str, body: Content) -> anyhow::Result<Response> {
        let url = format!("{}/api/v1{path}", self.base);
        let response = exchange(&self.agent, method, &url, &[bearer(&self.token)], body)
            .map_err(|error| no_answer(&self.base, &error))?;
        if response.status == 401 {
            bail!(
                "{} refused the token: give the admin token or a named one with {ADMIN_TOKEN_VARIABLE} \
                 or --token-file (by default it is in the file admin-token of the data folder)",
                self.base
            );
        }
        Ok(response)
    }
}

/// A path with its query.
pub(super) fn with_query(path: &str, query: &impl Serialize) -> anyhow::Result<String> {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    if let Value::Object(parameters) = serde_json::to_value(query)? {
        for (name, value) in parameters {
            match value {
                Value::String(value) => text.append_pair(&name, &value),
                value => text.append_pair(&name, &value.to_string()),
            };
        }
    }
    Ok(format!("{path}?{}", text.finish()))
}

/// A header of a request. Its value may be a credential.
pub(super) type Header = (String, Secret);

fn bearer(token: &Secret) -> Header {
    ("authorization".to_owned(), Secret::new(format!("Bearer {}", token.reveal())))
}

/// GET as Test Manager sends it, with these headers.
pub(super) fn get_webhook<T>(url: &str, headers: &[Header]) -> anyhow::Result<Answer<T>> {
    send_webhook(Method::GET, url, headers, Content::Nothing)
}

/// POST of JSON as Test Manager sends it, with these headers.
pub(super) fn post_webhook<T>(
    url: &str,
    body: String,
    headers: &[Header],
) -> anyhow::Result<Answer<T>> {
    send_webhook(Method::POST, url, headers, Content::Json(body))
}

fn send_webhook<T>(
    method: Method,
    url: &str,
    headers: &[Header],
    body: Content,
) -> anyhow::Result<Answer<T>> {
    let response = exchange(&agent(REQUEST_TIMEOUT), method, url, headers, body);
    success(response.map_err(|error| no_answer(url, &error))?)
}

/// Whether a server answers a health check at this address.
pub(super) fn is_healthy(base: &str) -> bool {
    let url = format!("{}/healthz", base.trim_end_matches('/'));
    let response = exchange(&agent(HEALTH_TIMEOUT), Method::GET, &url, &[], Content::Nothing);
    response.is_ok_and(|response| response.status == 200)
}

fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls())
        .user_agent(format!("{CLI_USER_AGENT}{}", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(timeout))
        .build()
        .new_agent()
}

/// Trusts the authorities of the system, because companies add their own to them, and those that
/// are built in where the system has none.
fn tls() -> TlsConfig {
    let system = system_certificates();
    let system = system.iter().map(|der| Certificate::from_der(der).to_owned());
    let roots = if system.len() == 0 { RootCerts::WebPki } else { system.into() };
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(crypto());
    tls.root_certs(roots).build()
}

/// The body of a request.
enum Content {
    Nothing,
    Json(String),
    /// The change of a record that has this revision.
    Edit(String, u64),
    File(File),
}

impl Content {
    fn json(body: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self::Json(serde_json::to_string(body)?))
    }
}

/// Status, body and event of any answer.
struct Response {
    status: u16,
    text: String,
    event: Option<Uuid>,
}

/// A refusal of the server, in one line and as the server sent it.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
pub(super) struct Refused {
    line: String,
    pub(super) status: u16,
    /// The problem; null if the answer was none.
    pub(super) problem: Json,
    /// The event of a webhook request.
    pub(super) event: Option<Uuid>,
}

impl Response {
    /// The problem in the answer; `None` if the body is not one.
    fn problem(&self) -> Option<Problem> {
        serde_json::from_str(&self.text).ok()
    }
}

/// Sends one request and reads the whole answer, whatever its status.
fn exchange(
    agent: &ureq::Agent,
    method: Method,
    url: &str,
    headers: &[Header],
    body: Content,
) -> Result<Response, ureq::Error> {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value.reveal());
    }
    let mut response = match body {
        Content::Nothing => agent.run(request.body(())?)?,
        Content::Json(text) => {
            agent.run(request.header("content-type", "application/json").body(text)?)?
        }
        Content::Edit(text, revision) => {
            let request = request.header("if-match", format!("\"{revision}\""));
            agent.run(request.header("content-type", "application/json").body(text)?)?
        }
        Content::File(file) => {
            agent.run(request.header("content-type", "application/octet-stream").body(file)?)?
        }
    };
    let status = response.status().as_u16();
    let event = response.headers().get("jackfield-event").and_then(|id| id.to_str().ok());
    let event = event.and_then(|id| id.parse().ok());
    let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
    Ok(Response { status, text, event })
}

/// The answer, if the status is 2xx; otherwise the problem as an error.
fn success<T>(response: Response) -> anyhow::Result<Answer<T>> {
    if (200..300).contains(&response.status) {
        let json = Json::read(&response.text);
        let Response { text, event, .. } = response;
        return Ok(Answer { text, json, event, decoded: PhantomData });
    }
    let line = problem_line(&response);
    let Response { status, text, event } = response;
    Err(Refused { line, status, problem: Json::read(&text), event }.into())
}

/// The error if no answer came. A webhook URL contains its token, so only its origin is printed.
fn no_answer(url: &str, error: &ureq::Error) -> anyhow::Error {
    let origin = url.split_once("/hooks/").map_or(url, |(origin, _)| origin);
    anyhow!(
        "no server answers at {origin} ({}): start one with `jackfield serve`, or give its address \
         with --server or JACKFIELD_URL",
        one_line(&error.to_string())
    )
}

/// A problem in one line, with the invalid values that it names.
fn problem_line(response: &Response) -> String {
    let status = response.status;
    let Some(problem) = response.problem() else {
        return format!("the server answered HTTP {status} and gave no reason");
    };
    let reason = [problem.detail, problem.title].into_iter().find(|text| !text.is_empty());
    let reason = reason.unwrap_or_else(|| "the server gave no reason".to_owned());
    let mut line = format!("{reason} (HTTP {status})");
    for error in problem.errors.iter().filter(|error| !reason.contains(&error.why)) {
        line.push_str(&format!("; {}: {}", error.name, error.why));
    }
    one_line(&line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::{ConnectionList, EnumString, EventQuery, ForceQuery};
    use crate::domain::EventKind;

    use super::*;

    #[test]
    fn a_query_has_only_the_parameters_that_are_set() {
        let query = EventQuery {
            kind: Some(EnumString(EventKind::Kpis)),
            connection: Some("a b&c".to_owned()),
            limit: Some(7),
            ..EventQuery::default()
        };
        let path = with_query("/events", &query).expect("a path");
        assert_eq!(path, "/events?connection=a+b%26c&kind=kpis&limit=7");
        let path = with_query("/x", &ForceQuery { force: true }).expect("a path");
        assert_eq!(path, "/x?force=true");
    }

    #[test]
    fn a_problem_is_one_line_and_names_each_value_once() {
        let body = json!({
            "type": "/problems/invalid-values", "title": "Invalid values", "status": 422,
            "detail": "2 values are\nnot valid: `url` is missing", "instance": "/x",
            "errors": [{"name": "url", "why": "is missing"}, {"name": "n", "why": "too large"}],
            "later": true,
        });
        let line = problem_line(&Response { status: 422, text: body.to_string(), event: None });
        assert_eq!(line, "2 values are not valid: `url` is missing (HTTP 422); n: too large");
        let line = problem_line(&Response { status: 502, text: String::new(), event: None });
        assert_eq!(line, "the server answered HTTP 502 and gave no reason");
    }

    #[test]
    fn an_answer_keeps_members_that_its_type_does_not_have() {
        let text = r#"{"later":1,"connections":[]}"#;
        let response = Response { status: 200, text: text.to_owned(), event: None };
        let answer = success::<ConnectionList>(response).expect("a success");
        assert_eq!(serde_json::to_string(answer.json()).expect("JSON"), text);
        assert!(answer.decode().expect("a list").connections.is_empty());
    }
}
