//! Classifies a request below a webhook URL by its method and path, and by whether its body is
//! empty. This module never has side effects.
//!
//! UiPath documents neither the method nor the path of Create Defect, so this module accepts
//! several methods and paths. The configuration and a connection may add more paths.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::config::Webhook;
use crate::domain::{PROJECT_ID, WebhookPaths};

use super::body::ReadBody;

/// The kind of a webhook request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WebhookKind {
    /// A Create Defect request if the body is not empty; otherwise a liveness probe.
    CreateOrProbe,
    /// A Create Defect request, whatever its body contains.
    Create,
    /// A Defect KPIs request for the project with this id. The id is percent-decoded and may have
    /// any length.
    Kpis(String),
    Probe,
    /// A request whose method and path have no known meaning.
    Unrecognised,
}

impl WebhookKind {
    pub(super) fn is_probe_with(&self, body: &ReadBody) -> bool {
        *self == Self::Probe || *self == Self::CreateOrProbe && body.is_empty()
    }

    /// Returns `Probe` if the request is a probe with this body, and otherwise the same kind.
    /// `body` is `None` if it was not read.
    pub(super) fn with_body(self, body: Option<&ReadBody>) -> Self {
        if body.is_some_and(|body| self.is_probe_with(body)) { Self::Probe } else { self }
    }
}

/// Classifies a request of a connection. `additional_paths` are the paths that a person mapped for
/// this connection; `path` is the path below the token, without the query.
pub(crate) fn classify_for_connection(
    additional_paths: &WebhookPaths,
    method: &Method,
    path: &str,
    config: &Webhook,
) -> WebhookKind {
    match classify(method, path, config) {
        WebhookKind::Unrecognised => classify_by_added_paths(
            method,
            path,
            &additional_paths.create_defect,
            &additional_paths.kpis,
        ),
        kind => kind,
    }
}

/// Classifies a request without the additional paths of a connection. `path` is the path below the
/// token, without the query.
pub(crate) fn classify(method: &Method, path: &str, config: &Webhook) -> WebhookKind {
    let path = path.trim_matches('/');
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let is_post = *method == Method::POST;
    match path {
        "" if is_post => return WebhookKind::CreateOrProbe,
        "" if is_read => return WebhookKind::Probe,
        "defects" | "api/defects" if is_post => return WebhookKind::Create,
        "isalive" | "api/isalive" if is_post || is_read => return WebhookKind::Probe,
        _ => {}
    }
    if is_kpi_method(method)
        && let Some(project) = documented_project(path)
    {
        return kpi_request(project);
    }
    classify_by_added_paths(method, path, &config.create_defect_paths, &config.kpi_paths)
}

/// Classifies a request by the paths that a person has configured. The method of Create Defect is
/// not documented, so here PUT and PATCH are accepted as well as POST.
fn classify_by_added_paths(
    method: &Method,
    path: &str,
    create_paths: &[String],
    kpi_paths: &[String],
) -> WebhookKind {
    let path = path.trim_matches('/');
    let project = || kpi_paths.iter().find_map(|template| project_in_path(template, path));
    if let Some(project) = is_kpi_method(method).then(project).flatten() {
        return kpi_request(project);
    }
    let is_create_method = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if is_create_method && create_paths.iter().any(|mapped| mapped.trim_matches('/') == path) {
        return WebhookKind::Create;
    }
    WebhookKind::Unrecognised
}

fn is_kpi_method(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::GET)
}

/// `project` is the percent-encoded id of the project.
fn kpi_request(project: &str) -> WebhookKind {
    WebhookKind::Kpis(percent_decode_str(project).decode_utf8_lossy().into_owned())
}

/// The project's id in a path that ends as UiPath documents:
/// `kpis/project/{projectId}/defectstatus`.
fn documented_project(path: &str) -> Option<&str> {
    let mut from_end = path.rsplit('/');
    let last = from_end.next()?;
    let project = from_end.next()?;
    let before = (from_end.next()?, from_end.next()?);
    (last == "defectstatus" && before == ("project", "kpis")).then_some(project)
}

/// Returns the error text for an unrecognised request. If a path can be mapped for the method, the
/// text names the commands for this.
pub(super) fn describe_mapping(connection: &str, method: &Method, path: &str) -> String {
    let connection = shell_word(connection);
    let map = |kind: &str, path: &str| {
        format!("`jackfield connections map-path {connection} {} --kind {kind}`", shell_word(path))
    };
    let (create, count) = (map("create-defect", path), map("kpis", &kpi_template(path)));
    let unknown_path = "the connection does not recognise this path";
    match *method {
        Method::GET => {
            format!("{unknown_path}: if the request is Defect KPIs, run {count}")
        }
        Method::POST => {
            format!(
                "{unknown_path}: if the request is Create Defect, run {create}; if it is Defect KPIs, run {count}"
            )
        }
        Method::PUT | Method::PATCH => {
            format!("{unknown_path}: if the request is Create Defect, run {create}")
        }
        _ => format!("{unknown_path}, and the method {method} is not supported"),
    }
}

/// Replaces the segment of a path that is most likely the project's id by `{projectId}`: the last
/// number or UUID, or the last segment but one if there is neither. If the only segment is neither
/// a number nor a UUID, `{projectId}` is appended.
pub(crate) fn kpi_template(path: &str) -> String {
    let mut segments: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_id = |segment: &&str| is_number(segment) || uuid::Uuid::try_parse(segment).is_ok();
    let id_position = segments.iter().rposition(is_id);
    let position = id_position.or_else(|| segments.len().checked_sub(2));
    let position = position.filter(|position| *position > 0);
    match position.and_then(|position| segments.get_mut(position)) {
        Some(segment) => *segment = PROJECT_ID,
        None => segments.push(PROJECT_ID),
    }
    segments.join("/")
}

/// Quotes a text if necessary, so that a shell reads it as one word.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The part of `path` at the position of `{projectId}` in `template`.
fn project_in_path<'a>(template: &str, path: &'a str) -> Option<&'a str> {
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
    fn additional_paths_of_a_connection_apply_only_to_this_connection_and_after_all_other_paths() {
        let paths = WebhookPaths {
            create_defect: vec!["/my/new".to_owned(), "/isalive".to_owned()],
            kpis: vec!["/my/{projectId}/numbers/".to_owned()],
        };
        let kind = |paths: &WebhookPaths, method: Method, path: &str| {
            classify_for_connection(paths, &method, path, &Webhook::default())
        };
        assert_eq!(kind(&paths, Method::PUT, "/my/new/"), WebhookKind::Create);
        assert_eq!(kind(&paths, Method::GET, "/my/new"), WebhookKind::Unrecognised);
        let counts = WebhookKind::Kpis("a b".to_owned());
        assert_eq!(kind(&paths, Method::GET, "/my/a%20b/numbers"), counts);
        assert_eq!(kind(&paths, Method::POST, "/isalive"), WebhookKind::Probe);
        let no_paths = WebhookPaths::default();
        assert_eq!(kind(&no_paths, Method::PUT, "/my/new"), WebhookKind::Unrecognised);
    }

    #[test]
    fn the_detail_of_an_unrecognised_request_names_the_command_that_maps_its_path() {
        let advice = describe_mapping("my qa", &Method::GET, "/tm/4711/stats");
        let command = "connections map-path 'my qa' '/tm/{projectId}/stats' --kind kpis`";
        assert!(advice.ends_with(command), "{advice}");
        let advice = describe_mapping("qa", &Method::PUT, "/it's/new");
        assert!(advice.ends_with(r"map-path qa '/it'\''s/new' --kind create-defect`"), "{advice}");
        for (path, template) in [
            ("/a", "/a/{projectId}"),
            ("/stats/ab", "/{projectId}/ab"),
            ("/v2/shop/stats", "/v2/{projectId}/stats"),
            ("/v2/x/7/", "/v2/x/{projectId}"),
            ("", "/{projectId}"),
        ] {
            assert_eq!(kpi_template(path), template, "{path}");
        }
    }

    #[test]
    fn create_defect_is_a_post_with_or_without_a_slash_at_the_end_of_the_path() {
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
    fn every_path_with_the_documented_end_is_a_defect_kpis_request() {
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
    fn a_read_of_the_webhook_url_or_of_isalive_is_a_probe() {
        for path in ["", "/", "/isalive", "/api/isalive/"] {
            assert_eq!(kind_of(Method::GET, path), WebhookKind::Probe, "{path}");
            assert_eq!(kind_of(Method::HEAD, path), WebhookKind::Probe, "{path}");
        }
        assert_eq!(kind_of(Method::POST, "/api/isalive"), WebhookKind::Probe);
    }
}
