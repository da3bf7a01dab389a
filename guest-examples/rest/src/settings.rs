//! Reads the settings by their names, because nearly all are optional texts.

use jackfield_connector_kit::*;
use serde::Deserialize;
use serde_json::Map;

use crate::template::Template;

/// The names of all settings that describe a request.
const REQUESTS: [&str; 12] = [
    "check-request",
    "create-request",
    "find-request",
    "open-request",
    "closed-request",
    "critical-request",
    "moderate-request",
    "state-request",
    "comment-request",
    "comments-request",
    "reopen-request",
    "attachments-request",
];

#[derive(Clone, Deserialize)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// Parses all requests, so that a mistake is found before a request is sent.
    pub fn check(&self) -> Result<(), Error> {
        let mut given = REQUESTS.iter().filter(|name| self.text(name).is_some());
        given.try_for_each(|name| self.request(name).map(drop))?;
        match self.text("page").or(self.text("link-at")) {
            Some(_) => self.headers().map(drop),
            None => {
                Err(Error::rejected("set `page` or `link-at`: each defect needs a link")
                    .about("page"))
            }
        }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Returns a setting that this operation needs. Without it, the operation is not supported.
    pub fn required(&self, name: &str) -> Result<&str, Error> {
        self.text(name).ok_or_else(|| not_set(name))
    }

    pub fn request<'a>(&'a self, name: &'a str) -> Result<Template<'a>, Error> {
        Template::read(name, self.required(name)?)
    }

    pub fn number(&self, name: &str) -> Result<u32, Error> {
        let number = self.0.get(name).map(Number::deserialize).transpose();
        let number = number.ok().flatten().and_then(|Number(number)| number.try_into().ok());
        number.ok_or_else(|| not_set(name))
    }

    pub fn list(&self, name: &str) -> Result<Vec<String>, Error> {
        let list = self.0.get(name).and_then(|list| List::deserialize(list).ok());
        let list = list.ok_or_else(|| not_set(name))?;
        Ok(list.iter().map(str::to_owned).collect())
    }

    /// Returns the additional headers of each request.
    pub fn headers(&self) -> Result<Vec<(&str, &str)>, Error> {
        let lines =
            self.0.get("headers").map(items).into_iter().flatten().filter_map(Value::as_str);
        let header = |line: &'_ str| -> Error {
            Error::rejected(format!(
                "{line:?} is not a header such as \"Accept: application/json\""
            ))
            .about("headers")
        };
        lines
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| header(line))?;
                Ok((name.trim(), value.trim()))
            })
            .collect()
    }
}

fn not_set(name: &str) -> Error {
    Error::unsupported(format!("the setting `{name}` describes this, and it is not set"))
        .about(name)
}
