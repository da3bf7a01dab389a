//! Requests to the tracker, with JSON in both directions.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::jackfield::connector::http::{self, Body, Effect, Method, Response};
use crate::bindings::jackfield::connector::model::{Error, ErrorCode};
use crate::error::refused;

/// The characters to percent-encode: all but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The names that error messages use for the tracker and its settings.
pub struct Tracker<'a> {
    /// The name of the tracker.
    pub name: &'a str,
    /// The name of the setting that contains the tracker's address.
    pub address: &'a str,
    /// The name of the setting that contains the credentials; empty if there are several such
    /// settings.
    pub secret: &'a str,
    /// Where a refusal in JSON has its reason, a text or a list of texts: "/errors", "/error/msg".
    /// A refusal that is plain text is used as a whole.
    pub words: &'a str,
}

/// A request that is built with these functions and then sent.
pub struct Request<'a> {
    tracker: &'a Tracker<'a>,
    request: http::Request,
}

impl Tracker<'_> {
    pub fn get(&self, path: impl Into<String>) -> Request<'_> {
        self.request(Method::Get, path)
    }

    /// Creates a POST request, which is a write unless [`Request::effect`] says otherwise.
    pub fn post(&self, path: impl Into<String>) -> Request<'_> {
        self.request(Method::Post, path)
    }

    /// Creates a PUT request, which is a write unless [`Request::effect`] says otherwise.
    pub fn put(&self, path: impl Into<String>) -> Request<'_> {
        self.request(Method::Put, path)
    }

    /// Returns the part of an answer's JSON at a pointer, as [`Request::fetch`] does.
    pub fn part<T: DeserializeOwned>(
        &self,
        path: &str,
        response: &Response,
        pointer: &str,
    ) -> Result<T, Error> {
        let mut answer: Value = serde_json::from_str(response.text.as_deref().unwrap_or_default())
            .map_err(|error| not_expected(self, path, &error))?;
        let found = answer.pointer_mut(pointer).map(Value::take);
        let found = found.ok_or_else(|| serde::de::Error::custom(format!("{pointer} is missing")));
        found.and_then(T::deserialize).map_err(|error| not_expected(self, path, &error))
    }

    /// Creates a request. `path` is below the tracker's address, and already percent-encoded.
    pub fn request(&self, method: Method, path: impl Into<String>) -> Request<'_> {
        let request = http::Request {
            method,
            effect: None,
            base: None,
            url: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        };
        Request { tracker: self, request }
    }
}

impl Request<'_> {
    /// Sets the effect. Needed only if it does not follow from the method.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.request.effect = Some(effect);
        self
    }

    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.request.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds parameters to the query; leaves out empty ones.
    pub fn queries(self, pairs: &[(&str, &str)]) -> Self {
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        given.fold(self, |request, (name, value)| request.query(name, value))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a JSON body; leaves out members that are null.
    pub fn json(self, mut body: Value) -> Self {
        without_nulls(&mut body);
        self.body(Body::Json(body.to_string()))
    }

    pub fn body(mut self, body: Body) -> Self {
        self.request.body = Some(body);
        self
    }

    /// Sets an attachment of the report as the body. Its bytes never enter the connector.
    pub fn attachment(self, id: u32) -> Self {
        self.header("content-type", "application/octet-stream").body(Body::Attachment(id))
    }

    /// Sends the request. Every answer that is not a success is an error.
    pub fn send(self) -> Result<Response, Error> {
        let response = http::send(&self.request)?;
        match response.status {
            200..300 => Ok(response),
            _ => Err(refused(self.tracker, &self.request.url, &response)),
        }
    }

    /// Sends the request and returns the part of its JSON answer at a pointer (RFC 6901). An empty
    /// pointer means the whole answer.
    pub fn fetch<T: DeserializeOwned>(self, pointer: &str) -> Result<T, Error> {
        let (tracker, path) = (self.tracker, self.request.url.clone());
        tracker.part(&path, &self.send()?, pointer)
    }
}

fn without_nulls(value: &mut Value) {
    let Value::Object(members) = value else { return };
    members.retain(|_, member| !member.is_null());
    members.values_mut().for_each(without_nulls);
}

/// Returns the items of a JSON list; none if the value is not a list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Returns the text of this member of each item of a JSON list.
pub fn texts<'a>(list: &'a Value, member: &'a str) -> impl Iterator<Item = &'a str> {
    items(list).filter_map(move |item| item.get(member)?.as_str())
}

fn not_expected(tracker: &Tracker, path: &str, error: &serde_json::Error) -> Error {
    let name = tracker.name;
    let why = format!("the answer to {path} is not the expected JSON ({error})");
    Error::new(ErrorCode::Unavailable, format!("{why}; is this the address of {name}?"))
        .about(tracker.address)
}

/// Returns the address of a page for people. `base` is the tracker's address in the settings. Empty
/// parameters are left out.
pub fn page(base: &str, path: &str, query: &[(&str, &str)]) -> String {
    let mut address = format!("{}{path}", base.trim_end_matches('/'));
    let given = query.iter().filter(|(_, value)| !value.is_empty());
    for (n, (name, value)) in given.enumerate() {
        let before = if n == 0 { '?' } else { '&' };
        address += &format!("{before}{}={}", percent_encoded(name), percent_encoded(value));
    }
    address
}

/// Percent-encodes a text, so that it is one part of a path or of a query.
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
