//! Classifies a request below a webhook URL by its method and path, and by whether its body is
//! empty. Pure functions.
//!
//! Source: UiPath documents neither the method nor the path of Create Defect, so several are
//! accepted. The configuration may add more (`webhook.create_defect_paths`, `webhook.kpi_paths`),
//! and so may a connection.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::config::Webhook;
use crate::domain::{PROJECT_ID, WebhookPaths};

use super::body::ReadBody;

/// The kind of request that Test Manager sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WebhookKind {
    /// Create Defect; a request with an empty body is a liveness probe.
    CreateOrProbe,
    /// Create Defect, by its path.
    Create,
    /// Defect KPIs of this project; the id is percent-decoded and may have any length.
    Kpis(String),
    /// A liveness probe.
    Probe,
    /// A request that the host does not know.
    Unrecognised,
}

impl WebhookKind {
    /// Whether a request of this kind with this body is a liveness probe.
    pub(super) fn is_probe_with(&self, body: &ReadBody) -> bool {
        *self == Self::Probe || *self == Self::CreateOrProbe && body.is_empty()
    }

    /// The kind, now that the body is known; `None`: it was not read.
    pub(super) fn with_body(self, body: Option<&ReadBody>) -> Self {
        if body.is_some_and(|body| self.is_probe_with(body)) { Self::Probe } else { self }
    }
}

/// Classifies a request of a connection with these paths of its own; `path` is the path below the
/// token, without the query.
pub(crate) fn classify_for(
    own: &WebhookPaths,
    method: &Method,
    path: &str,
    config: &Webhook,
) -> WebhookKind {
    match classify(method, path, config) {
        WebhookKind::Unrecognised => mapped(method, path, &own.create_defect, &own.kpis),
        kind => kind,
    }
}

/// Classifies a request; `path` is the path below the token, without the query.
pub(crate) fn classify(method: &Method, path: &str, config: &Webhook) -> WebhookKind {
    let path = path.trim_matches('/');
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let posts = *method == Method::POST;
    match path {
        "" if posts => return WebhookKind::CreateOrProbe,
        "" if reads => return WebhookKind::Probe,
        "defects" | "api/defects" if posts => return WebhookKind::Create,
        "isalive" | "api/isalive" if posts || reads => return WebhookKind::Probe,
        _ => {}
    }
    if may_count(method)
        && let Some(project) = documented_project(path)
    {
        return kpis(project);
    }
    mapped(method, path, &config.create_defect_paths, &config.kpi_paths)
}

/// Classifies a request by paths that a person has named. Their method is not documented either, so
/// PUT and PATCH create too.
fn mapped(method: &Method, path: &str, create: &[String], count: &[String]) -> WebhookKind {
    let path = path.trim_matches('/');
    let project = || count.iter().find_map(|template| match_template(template, path));
    if let Some(project) = may_count(method).then(project).flatten() {
        return kpis(project);
    }
    let may_create = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if may_create && create.iter().any(|mapped| mapped.trim_matches('/') == path) {
        return WebhookKind::Create;
    }
    WebhookKind::Unrecognised
}

fn may_count(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::GET)
}

fn kpis(project: &str) -> WebhookKind {
    WebhookKind::Kpis(percent_decode_str(project).decode_utf8_lossy().into_owned())
}

/// The project of a path with the documented ending.
fn documented_project(path: &str) -> Option<&str> {
    let mut from_end = path.rsplit('/');
    let last = from_end.next()?;
    let project = from_end.next()?;
    let before = (from_end.next()?, from_end.next()?);
    (last == "defectstatus" && before == ("project", "kpis")).then_some(project)
}

/// Says how the path of an unrecognised request can be mapped for its connection.
pub(super) fn how_to_map(connection: &str, method: &Method, path: &str) -> String {
    let connection = shell_word(connection);
    let map = |kind: &str, path: &str| {
        format!("`jackfield connections map-path {connection} {} --kind {kind}`", shell_word(path))
    };
    let (create, count) = (map("create-defect", path), map("kpis", &template_of(path)));
    let unknown = "this connection has no such path";
    match *method {
        Method::GET => format!("{unknown}: if it asks for Defect KPIs, run {count}"),
        Method::POST => {
            format!(
                "{unknown}: if it is Create Defect, run {create}; if it asks for Defect KPIs, {count}"
            )
        }
        Method::PUT | Method::PATCH => format!("{unknown}: if it is Create Defect, run {create}"),
        _ => format!("{unknown}, and the method {method} is not supported"),
    }
}

/// A path with `{projectId}` in the place of the segment that looks most like an id: the last
/// number or UUID, or else the last segment but one.
pub(crate) fn template_of(path: &str) -> String {
    let mut segments: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    let is_id = |it: &&str| is_number(it) || uuid::Uuid::try_parse(it).is_ok();
    let id = segments.iter().rposition(is_id);
    let place = id.or_else(|| segments.len().checked_sub(2)).filter(|place| *place > 0);
    match place.and_then(|place| segments.get_mut(place)) {
        Some(segment) => *segment = PROJECT_ID,
        None => segments.push(PROJECT_ID),
    }
    segments.join("/")
}

/// A text as one word of a command line.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The part of a path at `{projectId}`; `None` if the path does not match the template.
fn match_template<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let (before, after) = template.trim_matches('/').split_once(PROJECT_ID)?;
    let project = path.strip_prefix(before)?.strip_suffix(after)?;
    (!project.contains('/')).then_some(project)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(method: Method, path: &str) -> WebhookKind {
        let config = Webhook {
            create_defect_paths: vec!["/tm/newDefect/".to_owned()],
            kpi_paths: vec!["/tm/{projectId}/stats".to_owned()],
            ..Webhook::default()
        };
        classify(&method, path, &config)
    }

    #[test]
    fn a_path_of_a_connection_counts_only_for_it_and_after_all_others() {
        let own = WebhookPaths {
            create_defect: vec!["/my/new".to_owned(), "/isalive".to_owned()],
            kpis: vec!["/my/{projectId}/numbers/".to_owned()],
        };
        let kind = |own: &WebhookPaths, method: Method, path: &str| {
            classify_for(own, &method, path, &Webhook::default())
        };
        assert_eq!(kind(&own, Method::PUT, "/my/new/"), WebhookKind::Create);
        assert_eq!(kind(&own, Method::GET, "/my/new"), WebhookKind::Unrecognised);
        let counts = WebhookKind::Kpis("a b".to_owned());
        assert_eq!(kind(&own, Method::GET, "/my/a%20b/numbers"), counts);
        assert_eq!(kind(&own, Method::POST, "/isalive"), WebhookKind::Probe);
        let other = WebhookPaths::default();
        assert_eq!(kind(&other, Method::PUT, "/my/new"), WebhookKind::Unrecognised);
    }

    #[test]
    fn an_unrecognised_request_says_how_it_is_mapped() {
        let how = how_to_map("my qa", &Method::GET, "/tm/4711/stats");
        let command = "connections map-path 'my qa' '/tm/{projectId}/stats' --kind kpis`";
        assert!(how.ends_with(command), "{how}");
        let how = how_to_map("qa", &Method::PUT, "/it's/new");
        assert!(how.ends_with(r"map-path qa '/it'\''s/new' --kind create-defect`"), "{how}");
        for (path, template) in [
            ("/a", "/a/{projectId}"),
            ("/stats/ab", "/{projectId}/ab"),
            ("/v2/shop/stats", "/v2/{projectId}/stats"),
            ("/v2/x/7/", "/v2/x/{projectId}"),
            ("", "/{projectId}"),
        ] {
            assert_eq!(template_of(path), template, "{path}");
        }
    }

    #[test]
    fn creates_are_posts_with_or_without_a_slash() {
        for path in ["", "/"] {
            assert_eq!(kind_of(Method::POST, path), WebhookKind::CreateOrProbe, "{path}");
        }
        for path in ["/defects", "/defects/", "/api/defects", "/api/defects/", "/tm/newDefect"] {
            assert_eq!(kind_of(Method::POST, path), WebhookKind::Create, "{path}");
        }
        for (method, path) in [(Method::GET, "/defects"), (Method::PUT, ""), (Method::POST, "/x")] {
            assert_eq!(kind_of(method, path), WebhookKind::Unrecognised, "{path}");
        }
    }

    #[test]
    fn every_path_with_the_kpi_ending_is_a_kpi_request() {
        for (path, project) in [
            ("/kpis/project/4711/defectstatus", "4711"),
            ("/api/kpis/project/a%20b/defectstatus/", "a b"),
            ("/a/b/c/kpis/project/x/defectstatus", "x"),
            ("/kpis/project//defectstatus", ""),
            ("/tm/9/stats", "9"),
        ] {
            for method in [Method::GET, Method::POST] {
                assert_eq!(kind_of(method, path), WebhookKind::Kpis(project.to_owned()), "{path}");
            }
        }
        for path in ["/kpis/project/defectstatus", "/xkpis/project/1/defectstatus", "/tm/a/b/stats"]
        {
            assert_eq!(kind_of(Method::GET, path), WebhookKind::Unrecognised, "{path}");
        }
    }

    #[test]
    fn probes_are_reads_of_the_base_and_isalive() {
        for path in ["", "/", "/isalive", "/api/isalive/"] {
            assert_eq!(kind_of(Method::GET, path), WebhookKind::Probe, "{path}");
            assert_eq!(kind_of(Method::HEAD, path), WebhookKind::Probe, "{path}");
        }
        assert_eq!(kind_of(Method::POST, "/api/isalive"), WebhookKind::Probe);
    }
}
