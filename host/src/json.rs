//! JSON in the bodies of HTTP requests and answers.
//!
//! axum's own type is never used: its feature `json` enables the feature `raw_value` of serde_json,
//! which gives a member name in any JSON text a special meaning. Such a text could then be nested
//! without a limit, and overflow the stack of the thread that parses it.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// A body in JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let content_type = HeaderValue::from_static("application/json");
                ([(CONTENT_TYPE, content_type)], body).into_response()
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// Reads the body of a request. Another content type is refused, because a page of another site
/// could send it.
impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            let why = "send the content type application/json";
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into_response());
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(IntoResponse::into_response)?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let status = match error.classify() {
                Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, format!("the body cannot be read: {error}")).into_response()
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn the_status_shows_why_a_body_is_refused() {
        let status_of = async |content_type: &str, body: &'static str| {
            let request = Request::builder().header(CONTENT_TYPE, content_type);
            let request = request.body(Body::from(body)).unwrap();
            Json::<u8>::from_request(request, &())
                .await
                .err()
                .map(|answer| answer.status().as_u16())
        };
        assert_eq!(status_of("Application/JSON; charset=utf-8", "7").await, None);
        assert_eq!(status_of("text/plain", "7").await, Some(415));
        assert_eq!(status_of("application/json", "\"a\"").await, Some(422));
        assert_eq!(status_of("application/json", "7,").await, Some(400));
        let answer = Json(7).into_response();
        assert_eq!(answer.headers().get(CONTENT_TYPE).unwrap(), "application/json");
    }

    #[test]
    fn no_member_name_has_a_special_meaning() {
        for name in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let text = format!("{{\"{name}\":\"1\"}}");
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value.to_string(), text);
        }
    }
}
