//! Reads the connection's settings by their names. There is no struct with a field for each
//! setting, because nearly all settings are optional texts.

use jackfield_connector_kit::*;
use serde::Deserialize;
use serde_json::Map;

use crate::template::RequestTemplate;

/// The names of the settings that describe requests.
const REQUEST_SETTINGS: [&str; 13] = [
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
    "attach-request",
];

/// The connection's settings, which `settings.schema.json` describes.
#[derive(Clone, Deserialize)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// Parses the settings that describe requests and headers, so that a mistake is found before a
    /// request is sent. Also checks that a setting describes the links of defects.
    pub fn check(&self) -> Result<(), Error> {
        let mut present = REQUEST_SETTINGS.iter().filter(|name| self.text(name).is_some());
        present.try_for_each(|name| self.request_template(name).map(drop))?;
        match self.text("page").or(self.text("link-at")) {
            Some(_) => self.headers().map(drop),
            None => Err(Error::rejected("set `page` or `link-at`: each defect needs a link")
                .with_setting("page")),
        }
    }

    /// Returns the value of a setting that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Returns the value of a setting that the caller needs. If it has no value, returns the error
    /// `unsupported`.
    pub fn required_text(&self, name: &str) -> Result<&str, Error> {
        self.text(name).ok_or_else(|| not_set_error(name))
    }

    pub fn request_template<'a>(&'a self, name: &'a str) -> Result<RequestTemplate<'a>, Error> {
        RequestTemplate::parse(name, self.required_text(name)?)
    }

    /// Returns the value of a setting that is a number.
    pub fn number(&self, name: &str) -> Result<u32, Error> {
        let number = self.0.get(name).map(Number::deserialize).transpose();
        let number = number.ok().flatten().and_then(|Number(number)| number.try_into().ok());
        number.ok_or_else(|| not_set_error(name))
    }

    /// Returns the value of a setting that is a list of texts.
    pub fn list(&self, name: &str) -> Result<Vec<String>, Error> {
        let list = self.0.get(name).and_then(|list| TextList::deserialize(list).ok());
        let list = list.ok_or_else(|| not_set_error(name))?;
        Ok(list.iter().map(str::to_owned).collect())
    }

    /// Parses the headers that the setting `headers` adds to each request.
    pub fn headers(&self) -> Result<Vec<(&str, &str)>, Error> {
        let lines =
            self.0.get("headers").map(items).into_iter().flatten().filter_map(Value::as_str);
        let invalid_header = |line: &'_ str| -> Error {
            Error::rejected(format!(
                "{line:?} is not a header such as \"Accept: application/json\""
            ))
            .with_setting("headers")
        };
        lines
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| invalid_header(line))?;
                Ok((name.trim(), value.trim()))
            })
            .collect()
    }
}

fn not_set_error(name: &str) -> Error {
    Error::unsupported(format!("cannot do this, because the setting `{name}` has no value"))
        .with_setting(name)
}
