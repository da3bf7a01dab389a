//! Sends requests to the tracker, and reads JSON answers.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::jackfield::connector::http::{self, Body, Effect, Method, Response};
use crate::bindings::jackfield::connector::model::{Error, ErrorCode};
use crate::error::refusal_error;

/// The characters that are percent-encoded: all except the unreserved characters of RFC 3986.
const ENCODED_CHARACTERS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The tracker to which requests are sent. Error messages contain the names of the tracker and of
/// its settings.
pub struct Tracker<'a> {
    /// The name of the tracker, for people.
    pub name: &'a str,
    /// The name of the setting that contains the tracker's address.
    pub address: &'a str,
    /// The name of the setting that contains the credentials. It is empty if several settings
    /// contain them.
    pub secret: &'a str,
    /// The JSON pointer of the reasons in an answer that refuses a request, such as "/errors". The
    /// reasons are a text or a list of texts. If the answer is plain text, the beginning of this
    /// text is the reason.
    pub reasons: &'a str,
}

/// A request that is built with the functions of this type, and then sent.
pub struct Request<'a> {
    tracker: &'a Tracker<'a>,
    request: http::Request,
}

impl Tracker<'_> {
    /// Creates a GET request.
    pub fn get(&self, path: impl Into<String>) -> Request<'_> {
        self.request(Method::Get, path)
    }

    /// Creates a POST request. The request is a write, unless [`Request::effect`] sets another
    /// effect.
    pub fn post(&self, path: impl Into<String>) -> Request<'_> {
        self.request(Method::Post, path)
    }

    /// Creates a PUT request. The request is a write, unless [`Request::effect`] sets another
    /// effect.
    pub fn put(&self, path: impl Into<String>) -> Request<'_> {
        self.request(Method::Put, path)
    }

    /// Reads the part of a JSON answer to which `pointer` points. `path` is the path of the
    /// request, for error messages.
    pub fn read_part<T: DeserializeOwned>(
        &self,
        path: &str,
        response: &Response,
        pointer: &str,
    ) -> Result<T, Error> {
        let mut answer: Value = serde_json::from_str(response.text.as_deref().unwrap_or_default())
            .map_err(|error| unexpected_answer_error(self, path, &error))?;
        let found = answer.pointer_mut(pointer).map(Value::take);
        let found = found.ok_or_else(|| serde::de::Error::custom(format!("{pointer} is missing")));
        found.and_then(T::deserialize).map_err(|error| unexpected_answer_error(self, path, &error))
    }

    /// Creates a request. `path` is relative to the tracker's address, and already percent-encoded.
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
    /// Sets the effect of the request on the tracker. A request needs this only if the effect does
    /// not follow from the method.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.request.effect = Some(effect);
        self
    }

    /// Adds a parameter to the query.
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.request.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds several parameters to the query. Leaves out parameters without a value.
    pub fn queries(self, pairs: &[(&str, &str)]) -> Self {
        let with_value = pairs.iter().filter(|(_, value)| !value.is_empty());
        with_value.fold(self, |request, (name, value)| request.query(name, value))
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a JSON body. Leaves out members whose value is null.
    pub fn json(self, mut body: Value) -> Self {
        remove_nulls(&mut body);
        self.body(Body::Json(body.to_string()))
    }

    /// Sets a body of any kind.
    pub fn body(mut self, body: Body) -> Self {
        self.request.body = Some(body);
        self
    }

    /// Sets an attachment of the report as the body. The host reads the bytes of the attachment,
    /// and the connector never receives them.
    pub fn attachment(self, id: u32) -> Self {
        self.header("content-type", "application/octet-stream").body(Body::Attachment(id))
    }

    /// Sends the request. An answer with another status than 2xx is an error.
    pub fn send(self) -> Result<Response, Error> {
        let response = http::send(&self.request)?;
        match response.status {
            200..300 => Ok(response),
            _ => Err(refusal_error(self.tracker, &self.request.url, &response)),
        }
    }

    /// Sends the request, and returns the part of the JSON answer to which `pointer` points (RFC
    /// 6901). An empty pointer points to the whole answer.
    pub fn fetch<T: DeserializeOwned>(self, pointer: &str) -> Result<T, Error> {
        let (tracker, path) = (self.tracker, self.request.url.clone());
        tracker.read_part(&path, &self.send()?, pointer)
    }
}

fn remove_nulls(value: &mut Value) {
    let Value::Object(members) = value else { return };
    members.retain(|_, member| !member.is_null());
    members.values_mut().for_each(remove_nulls);
}

/// Returns the items of a JSON list. If the value is not a list, there are no items.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Returns one member of each item of a JSON list. Leaves out members that are not a text.
pub fn member_texts<'a>(list: &'a Value, member: &'a str) -> impl Iterator<Item = &'a str> {
    items(list).filter_map(move |item| item.get(member)?.as_str())
}

fn unexpected_answer_error(tracker: &Tracker, path: &str, error: &serde_json::Error) -> Error {
    let name = tracker.name;
    let why = format!("the answer to {path} is not the expected JSON ({error})");
    Error::new(ErrorCode::Unavailable, format!("{why}; is this the address of {name}?"))
        .with_setting(tracker.address)
}

/// Returns the address of a page for people. `base` is the tracker's address in the settings.
/// Leaves out parameters of the query without a value.
pub fn page_address(base: &str, path: &str, query: &[(&str, &str)]) -> String {
    let mut address = format!("{}{path}", base.trim_end_matches('/'));
    let with_value = query.iter().filter(|(_, value)| !value.is_empty());
    for (n, (name, value)) in with_value.enumerate() {
        let before = if n == 0 { '?' } else { '&' };
        address += &format!("{before}{}={}", percent_encoded(name), percent_encoded(value));
    }
    address
}

/// Percent-encodes a text, so that it can be one segment of a path or one value of a query.
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED_CHARACTERS).to_string()
}
