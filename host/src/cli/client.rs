//! Speaks to a server's admin API: finds it, brings the token, turns each failure into one line that
//! says what to do.
//!
//! Never prints a token, never follows a redirect.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::secret::Secret;

use super::output::one_line;

/// Longer than any answer may take by the ceilings of `create_answer_ms` and of a run.
const PATIENCE: Duration = Duration::from_secs(660);

/// Which server, and as whom.
#[derive(Args)]
pub(super) struct Server {
    /// The server's address
    #[arg(
        long = "server",
        global = true,
        env = "JACKFIELD_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub(super) base: String,
    /// A file that holds the admin token; without it $JACKFIELD_ADMIN_TOKEN, then DATA/admin-token
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The server's data folder [default: data; for demo a temporary one]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
}

/// The admin token in the environment, where there is one.
pub(super) fn token_of_environment() -> Option<Secret> {
    std::env::var("JACKFIELD_ADMIN_TOKEN").ok().filter(|text| !text.is_empty()).map(Secret::new)
}

impl Server {
    /// A client with the admin token.
    pub(super) fn admin(&self) -> anyhow::Result<Client> {
        let token = match &self.token_file {
            Some(file) => read_token(file)?,
            None => match token_of_environment() {
                Some(token) => token,
                None => read_token(&self.data_folder().join("admin-token"))?,
            },
        };
        Ok(Client::new(&self.base, token))
    }

    /// The data folder that is meant.
    pub(super) fn data_folder(&self) -> PathBuf {
        let of_environment = || std::env::var_os("JACKFIELD_DATA").map(PathBuf::from);
        self.data.clone().or_else(of_environment).unwrap_or_else(|| PathBuf::from("data"))
    }
}

fn read_token(file: &std::path::Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!(
            "no admin token: set JACKFIELD_ADMIN_TOKEN, or name a file by --token-file or the \
             server's data folder by --data ({} cannot be read)",
            file.display()
        )
    })?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// One server's admin API.
pub(super) struct Client {
    base: String,
    token: Secret,
    agent: ureq::Agent,
}

impl Client {
    pub(super) fn new(base: &str, token: Secret) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), token, agent: agent(PATIENCE) }
    }

    /// GET below `/api/v1`.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send("GET", path, None)
    }

    /// POST below `/api/v1`.
    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send("POST", path, Some(body))
    }

    /// PATCH below `/api/v1`.
    pub(super) fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send("PATCH", path, Some(body))
    }

    /// DELETE below `/api/v1`.
    pub(super) fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.send("DELETE", path, None)
    }

    /// Whether the server answers at all.
    pub(super) fn answers(&self) -> bool {
        answers(&self.base)
    }

    /// The connection of that name or id.
    pub(super) fn connection(&self, name: &str) -> anyhow::Result<Value> {
        let all = self.get("/connections")?;
        let list = all["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |one: &&Value| one["name"] == name || one["id"] == name;
        list.iter().find(named).cloned().ok_or_else(|| {
            anyhow!("there is no connection {name:?}; `jackfield connections list` shows all")
        })
    }

    /// The path of the connection of that name or id.
    pub(super) fn connection_path(&self, name: &str) -> anyhow::Result<String> {
        let connection = self.connection(name)?;
        let id = connection["id"].as_str().context("the server sent a connection without an id")?;
        Ok(format!("/connections/{id}"))
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1{path}", self.base);
        let bearer = format!("Bearer {}", self.token.reveal());
        let answer = exchange(&self.agent, method, &url, &[("authorization", &bearer)], body)
            .map_err(|error| unreachable(&self.base, &error))?;
        if answer.status == 401 {
            bail!(
                "{} refuses the admin token: set JACKFIELD_ADMIN_TOKEN or --token-file to the \
                 server's (by default it lies in DATA/admin-token)",
                self.base
            );
        }
        answer.success()
    }
}

/// A status and a body; the body is null where it is no JSON.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    /// The body of a success.
    pub(super) fn success(self) -> anyhow::Result<Value> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        bail!("{}", told(&self))
    }
}

/// Sends one request without credentials, as Test Manager would.
pub(super) fn send_plain(method: &str, url: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
    exchange(&agent(PATIENCE), method, url, &[], body).map_err(|error| unreachable(url, &error))
}

/// Whether a server answers there, soon.
pub(super) fn answers(base: &str) -> bool {
    let url = format!("{}/healthz", base.trim_end_matches('/'));
    let answer = exchange(&agent(Duration::from_secs(3)), "GET", &url, &[], None);
    answer.is_ok_and(|answer| answer.status == 200)
}

fn agent(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_global(Some(patience))
        .build()
        .new_agent()
}

fn exchange(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer, ureq::Error> {
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = match body {
        Some(body) => {
            agent.run(request.header("content-type", "application/json").body(body.to_string())?)?
        }
        None => agent.run(request.body(())?)?,
    };
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string()?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
}

/// A webhook URL carries its token, so only its origin is told.
fn unreachable(url: &str, error: &ureq::Error) -> anyhow::Error {
    let origin = url.split_once("/hooks/").map_or(url, |(origin, _)| origin);
    anyhow!(
        "no server answers at {origin} ({}): start it by `jackfield serve`, or say where it is by \
         --server or JACKFIELD_URL",
        one_line(&error.to_string())
    )
}

/// A problem (RFC 9457) in one line, with the settings it names.
fn told(answer: &Answer) -> String {
    let body = &answer.body;
    let text = |key: &str| body[key].as_str().filter(|text| !text.is_empty());
    let main = text("detail").or_else(|| text("title")).unwrap_or("the server says no more");
    let mut line = format!("{main} (HTTP {})", answer.status);
    let empty = json!([]);
    for one in body.get("errors").unwrap_or(&empty).as_array().into_iter().flatten() {
        let (name, why) = (&one["name"], &one["why"]);
        match (name.as_str(), why.as_str()) {
            (Some(name), Some(why)) if !main.contains(why) => {
                line.push_str(&format!("; {name}: {why}"));
            }
            (Some(_), Some(_)) => {}
            _ => line.push_str(&format!("; {one}")),
        }
    }
    one_line(&line)
}
