//! What a request below a webhook URL means, from method and path alone. Pure.
//!
//! Source: UiPath documents neither method nor path of Create Defect, so several are taken, and the
//! config may name more (`webhook.create_defect_paths`, `webhook.kpi_paths`).

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::config::Webhook;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Create Defect; with nothing in its body, a probe.
    CreateOrProbe,
    /// Create Defect.
    Create,
    /// Defect KPIs of the project, decoded and as long as it came.
    Kpis(String),
    /// Whether anybody is there.
    Probe,
    /// Nothing known.
    Unrecognised,
}

/// The meaning of a path below the token, query excluded.
pub(crate) fn meaning(method: &Method, path: &str, config: &Webhook) -> Meaning {
    let path = path.trim_matches('/');
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let posts = *method == Method::POST;
    match path {
        "" if posts => return Meaning::CreateOrProbe,
        "" if reads => return Meaning::Probe,
        "defects" | "api/defects" if posts => return Meaning::Create,
        "isalive" | "api/isalive" if posts || reads => return Meaning::Probe,
        _ => {}
    }
    if (posts || *method == Method::GET)
        && let Some(project) = kpi_project(path, config)
    {
        return Meaning::Kpis(project);
    }
    // How a mapped path is called is as little known as its name was.
    let writes = posts || matches!(*method, Method::PUT | Method::PATCH);
    if writes && config.create_defect_paths.iter().any(|mapped| mapped.trim_matches('/') == path) {
        return Meaning::Create;
    }
    Meaning::Unrecognised
}

fn kpi_project(path: &str, config: &Webhook) -> Option<String> {
    let documented = || {
        let mut from_end = path.rsplit('/');
        let last = from_end.next()?;
        let project = from_end.next()?;
        let before = (from_end.next()?, from_end.next()?);
        (last == "defectstatus" && before == ("project", "kpis")).then_some(project)
    };
    let mapped = || config.kpi_paths.iter().find_map(|template| fill(template, path));
    let project = documented().or_else(mapped)?;
    Some(percent_decode_str(project).decode_utf8_lossy().into_owned())
}

/// What stands at `{projectId}` where a path fits the template.
fn fill<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let (before, after) = template.trim_matches('/').split_once("{projectId}")?;
    let project = path.strip_prefix(before)?.strip_suffix(after)?;
    (!project.contains('/')).then_some(project)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, path: &str) -> Meaning {
        let config = Webhook {
            create_defect_paths: vec!["/tm/newDefect/".to_owned()],
            kpi_paths: vec!["/tm/{projectId}/stats".to_owned()],
            ..Webhook::default()
        };
        meaning(&method, path, &config)
    }

    #[test]
    fn creates_are_posts_with_or_without_a_slash() {
        for path in ["", "/"] {
            assert_eq!(of(Method::POST, path), Meaning::CreateOrProbe, "{path}");
        }
        for path in ["/defects", "/defects/", "/api/defects", "/api/defects/", "/tm/newDefect"] {
            assert_eq!(of(Method::POST, path), Meaning::Create, "{path}");
        }
        for (method, path) in [(Method::GET, "/defects"), (Method::PUT, ""), (Method::POST, "/x")] {
            assert_eq!(of(method, path), Meaning::Unrecognised, "{path}");
        }
    }

    #[test]
    fn kpis_are_any_path_with_their_end() {
        for (path, project) in [
            ("/kpis/project/4711/defectstatus", "4711"),
            ("/api/kpis/project/a%20b/defectstatus/", "a b"),
            ("/a/b/c/kpis/project/x/defectstatus", "x"),
            ("/kpis/project//defectstatus", ""),
            ("/tm/9/stats", "9"),
        ] {
            for method in [Method::GET, Method::POST] {
                assert_eq!(of(method, path), Meaning::Kpis(project.to_owned()), "{path}");
            }
        }
        for path in ["/kpis/project/defectstatus", "/xkpis/project/1/defectstatus", "/tm/a/b/stats"]
        {
            assert_eq!(of(Method::GET, path), Meaning::Unrecognised, "{path}");
        }
    }

    #[test]
    fn probes_are_reads_of_the_base_and_isalive() {
        for path in ["", "/", "/isalive", "/api/isalive/"] {
            assert_eq!(of(Method::GET, path), Meaning::Probe, "{path}");
            assert_eq!(of(Method::HEAD, path), Meaning::Probe, "{path}");
        }
        assert_eq!(of(Method::POST, "/api/isalive"), Meaning::Probe);
    }
}
