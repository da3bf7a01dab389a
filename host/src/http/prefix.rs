//! Removes the path prefix from requests, and adds it to answers. The prefix is the path of
//! `public_url`, below which a proxy makes this server available.
//!
//! Handlers and templates write local paths without the prefix. The path of a request may have the
//! prefix, because some proxies do not remove it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION, SET_COOKIE};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use regex::{Captures, Regex};
use serde_json::Value;

/// Matches the beginning of a path of this server in an attribute of an HTML page. It matches only
/// attributes that a template contains, because templates escape the quotes in all other texts.
#[expect(clippy::expect_used, reason = "a constant pattern, covered by the tests below")]
static LINK_PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(\s(?:href|src|action|formaction|hx-get|hx-post)="|\scontent="0; url=)/"#;
    Regex::new(pattern).expect("a valid pattern")
});

/// Wraps a router, so that the router accepts requests with and without the prefix.
pub(super) fn with_prefix(prefix: &str, router: Router) -> Router {
    if prefix.is_empty() {
        return router;
    }
    let prefix: Arc<str> = prefix.into();
    Router::new().fallback_service(router).layer(from_fn_with_state(prefix, translate_exchange))
}

async fn translate_exchange(
    State(prefix): State<Arc<str>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(uri) = strip_prefix(&prefix, request.uri()) {
        *request.uri_mut() = uri;
    }
    let mut response = next.run(request).await;
    translate_headers(&prefix, response.headers_mut());
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let translate_body: fn(&str, &str) -> Option<String> = match media_type.unwrap_or_default() {
        html if html.starts_with("text/html") => |prefix, page| Some(translate_page(prefix, page)),
        json if json.starts_with("application/problem+json") => translate_problem,
        _ => return response,
    };
    let (mut head, body) = response.into_parts();
    // Pages and problems are already in memory, so their size needs no limit here.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let text = std::str::from_utf8(&bytes).ok();
    let body = match text.and_then(|text| translate_body(&prefix, text)) {
        Some(translated) => {
            head.headers.remove(CONTENT_LENGTH);
            Body::from(translated)
        }
        None => Body::from(bytes),
    };
    Response::from_parts(head, body)
}

/// Returns `None` if the path does not have the prefix.
fn strip_prefix(prefix: &str, uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix(prefix)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let path = if rest.is_empty() { "/" } else { rest };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut uri_parts = uri.clone().into_parts();
    uri_parts.path_and_query = Some(format!("{path}{query}").parse::<PathAndQuery>().ok()?);
    Uri::from_parts(uri_parts).ok()
}

fn translate_headers(prefix: &str, headers: &mut HeaderMap) {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    if let Some(local) = location.filter(|target| target.starts_with('/'))
        && let Ok(location) = HeaderValue::from_str(&format!("{prefix}{local}"))
    {
        headers.insert(LOCATION, location);
    }
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    replace_header(
        headers,
        SET_COOKIE,
        cookies.iter().map(|cookie| cookie_with_path(prefix, cookie)),
    );
}

fn replace_header(
    headers: &mut HeaderMap,
    name: HeaderName,
    values: impl Iterator<Item = HeaderValue>,
) {
    headers.remove(&name);
    for value in values {
        headers.append(&name, value);
    }
}

/// Limits a cookie to the paths below the prefix, because other programs may use the same host.
fn cookie_with_path(prefix: &str, cookie: &HeaderValue) -> HeaderValue {
    let text = cookie.to_str().map(|text| text.replace("; Path=/;", &format!("; Path={prefix};")));
    text.ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| cookie.clone())
}

fn translate_page(prefix: &str, page: &str) -> String {
    let translated = LINK_PATTERN.replace_all(page, |found: &Captures<'_>| {
        let before = found.get(1).map_or("", |attribute| attribute.as_str());
        format!("{before}{prefix}/")
    });
    translated.into_owned()
}

/// Returns `None` if the text is not JSON.
fn translate_problem(prefix: &str, problem: &str) -> Option<String> {
    let mut problem: Value = serde_json::from_str(problem).ok()?;
    for member in ["type", "instance"] {
        if let Some(Value::String(path)) = problem.get_mut(member)
            && path.starts_with('/')
        {
            path.insert_str(0, prefix);
        }
    }
    Some(problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_removed_only_if_it_is_whole_segments_of_the_path() {
        let strip_prefix =
            |uri: &str| strip_prefix("/hub", &uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(strip_prefix("/hub").as_deref(), Some("/"));
        assert_eq!(strip_prefix("/hub/").as_deref(), Some("/"));
        assert_eq!(strip_prefix("/hub/events?kind=kpis").as_deref(), Some("/events?kind=kpis"));
        assert_eq!(strip_prefix("/hub/hub/x").as_deref(), Some("/hub/x"));
        assert_eq!(strip_prefix("/hubs"), None);
        assert_eq!(strip_prefix("/events"), None);
    }

    #[test]
    fn the_links_of_a_page_get_the_prefix_and_its_other_texts_do_not_change() {
        let page = r##"<a href="/events">x</a> <form action="/x"><button formaction="/y" hx-post="/z">
            <meta content="0; url=/"> <a href="https://other.example/">o</a> <a href="#main">m</a>
            <input value="/events"> &#34; href=&#34;/events"##;
        let translated = translate_page("/hub", page);
        for link in [r#"href="/hub/events""#, r#"action="/hub/x""#, r#"formaction="/hub/y""#] {
            assert!(translated.contains(link), "{translated}");
        }
        assert!(translated.contains(r#"hx-post="/hub/z""#) && translated.contains("url=/hub/"));
        for kept in ["https://other.example/\"", "\"#main\"", "value=\"/events\"", "&#34;/events"] {
            assert!(translated.contains(kept), "{translated}");
        }
    }

    #[test]
    fn redirects_cookies_and_problems_get_the_prefix() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("/sign-in?next=%2F"));
        for cookie in ["a=1; Path=/; HttpOnly", "b=2; Path=/; HttpOnly"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        translate_headers("/hub", &mut headers);
        assert_eq!(headers[LOCATION], "/hub/sign-in?next=%2F");
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; Path=/hub; HttpOnly", "b=2; Path=/hub; HttpOnly"]);
        headers.insert(LOCATION, HeaderValue::from_static("https://provider.example/authorize"));
        translate_headers("/hub", &mut headers);
        assert_eq!(headers[LOCATION], "https://provider.example/authorize");
        let problem = r#"{"type":"/problems/not-found","instance":"/events/7","detail":"/x"}"#;
        let problem: Value =
            serde_json::from_str(&translate_problem("/hub", problem).unwrap()).unwrap();
        assert_eq!(problem["type"], "/hub/problems/not-found");
        assert_eq!(problem["instance"], "/hub/events/7");
        assert_eq!(problem["detail"], "/x");
    }
}
