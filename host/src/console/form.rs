//! Reads the fields of a form that a browser sends. This module does not check the CSRF token.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use url::form_urlencoded;

use crate::http::problem::Problem;
use crate::secret::Secret;

#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, Secret)>);

impl Form {
    /// Parses a request body such as `name=value&name=value`.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(bytes);
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned())))
                .collect(),
        )
    }

    /// Returns an empty text if the form does not have the field.
    pub(super) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// Returns `None` if the form does not have the field.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.reveal())
    }

    /// Replaces the value of a field, or adds the field.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(field, _)| field != name);
        self.0.push((name.to_owned(), Secret::new(value.to_owned())));
    }

    pub(super) fn is_checked(&self, name: &str) -> bool {
        self.find(name) == Some("true")
    }
}

/// A handler that reads no field takes a `Form` too, so that other content types are refused.
impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        if !content_type.is_some_and(|it| it.starts_with("application/x-www-form-urlencoded")) {
            return Err(Problem::bad_request("this page accepts only the form of the console"));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| Problem::incomplete_body())?;
        Ok(Self::parse(&bytes))
    }
}
