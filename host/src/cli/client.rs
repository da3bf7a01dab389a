//! Sends typed requests to the admin API and to webhook URLs, and describes a failure in one line.
//!
//! Never prints a token, never follows a redirect, never uses a proxy. A proxy would see the admin
//! token if the server has no TLS. If the server's address is a loopback address, the proxy would
//! connect to itself.

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
use crate::transport::{crypto_provider, system_certificates};

use super::ordered::Json;
use super::output::one_line;
use super::server::ADMIN_TOKEN_VARIABLE;

/// Timeout of a request. It is longer than any configurable limit on the time of an answer or run.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(660);
/// Timeout of a request that is answered only after a connector was compiled. A file may take ten
/// minutes to arrive, a compilation half an hour, and a replayed run ten minutes.
const COMPILATION_TIMEOUT: Duration = Duration::from_secs(3_000);
/// Timeout of a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of one attempt to connect to the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of an answer, bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A successful answer of the server, which can be decoded as `T`. The JSON that the server sent is
/// kept for `--json`.
pub(super) struct Answer<T> {
    text: String,
    /// The body as JSON, with its members in the order of the text; null if the body is not JSON.
    json: Json,
    /// The event that the server recorded, if the request was a webhook.
    event: Option<Uuid>,
    decoded_type: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Answer<T> {
    pub(super) fn json(&self) -> &Json {
        &self.json
    }

    pub(super) fn event(&self) -> Option<Uuid> {
        self.event
    }

    pub(super) fn decode(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.text).context(
            "cannot read the server's answer: use the same version of jackfield as the server, or \
             --json",
        )
    }
}

/// A client of the admin API of one server. The paths that callers pass are below `/api/v1`.
pub(super) struct Client {
    base_url: String,
    token: Secret,
    agent: ureq::Agent,
}

impl Client {
    pub(super) fn new(base_url: &str, token: Secret) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self { base_url, token, agent: new_agent(REQUEST_TIMEOUT) }
    }

    /// Returns a client whose requests may wait until a connector is compiled.
    pub(super) fn waiting_for_compilation(&self) -> Self {
        let agent = new_agent(COMPILATION_TIMEOUT);
        Self { base_url: self.base_url.clone(), token: self.token.clone(), agent }
    }

    pub(super) fn get<T>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        require_success(self.send(Method::GET, path, RequestBody::Empty)?)
    }

    pub(super) fn post<B: Serialize, T>(&self, path: &str, body: &B) -> anyhow::Result<Answer<T>> {
        require_success(self.send(Method::POST, path, RequestBody::json(body)?)?)
    }

    /// The server refuses the change if the record has a revision other than `revision`.
    pub(super) fn patch<B: Serialize, T>(
        &self,
        path: &str,
        body: &B,
        revision: u64,
    ) -> anyhow::Result<Answer<T>> {
        let content = RequestBody::Edit(serde_json::to_string(body)?, revision);
        require_success(self.send(Method::PATCH, path, content)?)
    }

    pub(super) fn put_file<T>(&self, path: &str, file: File) -> anyhow::Result<Answer<T>> {
        require_success(self.send(Method::PUT, path, RequestBody::File(file))?)
    }

    pub(super) fn delete<T>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        require_success(self.send(Method::DELETE, path, RequestBody::Empty)?)
    }

    pub(super) fn is_healthy(&self) -> bool {
        is_healthy(&self.base_url)
    }

    /// Gets the connection with this name or id.
    pub(super) fn get_connection(&self, name: &str) -> anyhow::Result<Answer<Connection>> {
        self.get_by_name("connection", name)
    }

    /// Gets the record with this name or id. `kind` is `connection`, `connector`, `defect` or
    /// `event`.
    pub(super) fn get_by_name<T>(&self, kind: &str, name: &str) -> anyhow::Result<Answer<T>> {
        let path = format!("/{kind}s/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        let response = self.send(Method::GET, &path, RequestBody::Empty)?;
        if response.status == 404 && response.problem().is_some() {
            bail!("there is no {kind} {name:?}: run `jackfield {kind}s list` to see all");
        }
        require_success(response)
    }

    /// Returns the path of the connection with this name or id.
    pub(super) fn connection_path(&self, name: &str) -> anyhow::Result<String> {
        Ok(format!("/connections/{}", self.get_connection(name)?.decode()?.id))
    }

    /// Returns an error if no complete answer comes, or if the server refuses the token.
    fn send(&self, method: Method, path: &str, body: RequestBody) -> anyhow::Result<Response> {
        let url = format!("{}/api/v1{path}", self.base_url);
        let response = send_request(&self.agent, method, &url, &[bearer_header(&self.token)], body)
            .map_err(|error| no_answer_error(&self.base_url, &error))?;
        if response.status == 401 {
            bail!(
                "{} refused the token: give the admin token or a named one with {ADMIN_TOKEN_VARIABLE} \
                 or --token-file (by default it is in the file admin-token of the data folder)",
                self.base_url
            );
        }
        Ok(response)
    }
}

/// Adds a query to a path, with a parameter for each member of `query`.
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

fn bearer_header(token: &Secret) -> Header {
    ("authorization".to_owned(), Secret::new(format!("Bearer {}", token.reveal())))
}

/// Sends GET to a webhook URL as Test Manager does, with these additional headers.
pub(super) fn get_webhook<T>(url: &str, headers: &[Header]) -> anyhow::Result<Answer<T>> {
    send_webhook(Method::GET, url, headers, RequestBody::Empty)
}

/// Sends POST with JSON to a webhook URL as Test Manager does, with these additional headers.
pub(super) fn post_webhook<T>(
    url: &str,
    body: String,
    headers: &[Header],
) -> anyhow::Result<Answer<T>> {
    send_webhook(Method::POST, url, headers, RequestBody::Json(body))
}

fn send_webhook<T>(
    method: Method,
    url: &str,
    headers: &[Header],
    body: RequestBody,
) -> anyhow::Result<Answer<T>> {
    let response = send_request(&new_agent(REQUEST_TIMEOUT), method, url, headers, body);
    require_success(response.map_err(|error| no_answer_error(url, &error))?)
}

/// Returns whether a server answers a health check at this address with status 200.
pub(super) fn is_healthy(base_url: &str) -> bool {
    let url = format!("{}/healthz", base_url.trim_end_matches('/'));
    let response =
        send_request(&new_agent(HEALTH_TIMEOUT), Method::GET, &url, &[], RequestBody::Empty);
    response.is_ok_and(|response| response.status == 200)
}

fn new_agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls_config())
        .user_agent(format!("{CLI_USER_AGENT}{}", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(timeout))
        .build()
        .new_agent()
}

/// Trusts the certificate authorities of the system, because companies add their own authorities to
/// the system. If the system has no authorities, trusts the built-in ones.
fn tls_config() -> TlsConfig {
    let system = system_certificates();
    let system = system.iter().map(|der| Certificate::from_der(der).to_owned());
    let roots = if system.len() == 0 { RootCerts::WebPki } else { system.into() };
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(crypto_provider());
    tls.root_certs(roots).build()
}

enum RequestBody {
    Empty,
    Json(String),
    /// A change as a JSON text, and the revision that the record must have before the change.
    Edit(String, u64),
    File(File),
}

impl RequestBody {
    fn json(body: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self::Json(serde_json::to_string(body)?))
    }
}

/// An answer of the server, with any status.
struct Response {
    status: u16,
    text: String,
    /// The event that the server recorded, if the request was a webhook.
    event: Option<Uuid>,
}

/// The error that [`require_success`] returns.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
pub(super) struct ServerRefusal {
    line: String,
    pub(super) status: u16,
    /// The body as JSON, usually problem details (RFC 9457); null if the body is not JSON.
    pub(super) problem: Json,
    /// The event that the server recorded, if the request was a webhook.
    pub(super) event: Option<Uuid>,
}

impl Response {
    fn problem(&self) -> Option<Problem> {
        serde_json::from_str(&self.text).ok()
    }
}

/// Sends one request and reads the whole answer, whatever its status.
fn send_request(
    agent: &ureq::Agent,
    method: Method,
    url: &str,
    headers: &[Header],
    body: RequestBody,
) -> Result<Response, ureq::Error> {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value.reveal());
    }
    let mut response = match body {
        RequestBody::Empty => agent.run(request.body(())?)?,
        RequestBody::Json(text) => {
            agent.run(request.header("content-type", "application/json").body(text)?)?
        }
        RequestBody::Edit(text, revision) => {
            let request = request.header("if-match", format!("\"{revision}\""));
            agent.run(request.header("content-type", "application/json").body(text)?)?
        }
        RequestBody::File(file) => {
            agent.run(request.header("content-type", "application/octet-stream").body(file)?)?
        }
    };
    let status = response.status().as_u16();
    let event = response.headers().get("jackfield-event").and_then(|id| id.to_str().ok());
    let event = event.and_then(|id| id.parse().ok());
    let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
    Ok(Response { status, text, event })
}

fn require_success<T>(response: Response) -> anyhow::Result<Answer<T>> {
    if (200..300).contains(&response.status) {
        let json = Json::parse(&response.text);
        let Response { text, event, .. } = response;
        return Ok(Answer { text, json, event, decoded_type: PhantomData });
    }
    let line = problem_line(&response);
    let Response { status, text, event } = response;
    Err(ServerRefusal { line, status, problem: Json::parse(&text), event }.into())
}

/// Creates the error for a request without a complete answer. If `url` is a webhook URL, the error
/// shows only the part before `/hooks/`, because the rest contains a token.
fn no_answer_error(url: &str, error: &ureq::Error) -> anyhow::Error {
    let origin = url.split_once("/hooks/").map_or(url, |(origin, _)| origin);
    anyhow!(
        "no server answers at {origin} ({}): start one with `jackfield serve`, or give its address \
         with --server or JACKFIELD_URL",
        one_line(&error.to_string())
    )
}

/// Describes the problem of an answer in one line. Adds the name and the error of each invalid
/// value whose error the reason does not contain.
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
    fn a_problem_is_one_line_and_names_each_invalid_value_once() {
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
    fn the_json_of_an_answer_keeps_members_that_the_decoded_type_does_not_have() {
        let text = r#"{"later":1,"connections":[]}"#;
        let response = Response { status: 200, text: text.to_owned(), event: None };
        let answer = require_success::<ConnectionList>(response).expect("a success");
        assert_eq!(serde_json::to_string(answer.json()).expect("JSON"), text);
        assert!(answer.decode().expect("a list").connections.is_empty());
    }
}
