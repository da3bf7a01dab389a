//! Classifies a request below a webhook URL by method and path only. A pure function.
//!
//! Source: UiPath documents neither the method nor the path of Create Defect, so several are
//! accepted. The configuration may add more (`webhook.create_defect_paths`, `webhook.kpi_paths`).

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::config::Webhook;

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
    if (posts || *method == Method::GET)
        && let Some(project) = kpi_project(path, config)
    {
        return WebhookKind::Kpis(project);
    }
    // The method of a path from the configuration is not documented either, so PUT and PATCH are
    // accepted too.
    let writes = posts || matches!(*method, Method::PUT | Method::PATCH);
    if writes && config.create_defect_paths.iter().any(|mapped| mapped.trim_matches('/') == path) {
        return WebhookKind::Create;
    }
    WebhookKind::Unrecognised
}

/// The project of a KPI path: one with the documented ending, or one from `kpi_paths`.
fn kpi_project(path: &str, config: &Webhook) -> Option<String> {
    let documented = || {
        let mut from_end = path.rsplit('/');
        let last = from_end.next()?;
        let project = from_end.next()?;
        let before = (from_end.next()?, from_end.next()?);
        (last == "defectstatus" && before == ("project", "kpis")).then_some(project)
    };
    let mapped = || config.kpi_paths.iter().find_map(|template| match_template(template, path));
    let project = documented().or_else(mapped)?;
    Some(percent_decode_str(project).decode_utf8_lossy().into_owned())
}

/// The part of a path at `{projectId}`; `None` if the path does not match the template.
fn match_template<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let (before, after) = template.trim_matches('/').split_once("{projectId}")?;
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
