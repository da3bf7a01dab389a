//! Additional paths for the webhook requests of one connection. Not all requests of Test Manager
//! are documented, so a person can map the path of an unrecognised request to Create Defect or
//! Defect KPIs.

use super::is_printable;

/// The placeholder for the project's id in a path of Defect KPIs.
pub const PROJECT_ID: &str = "{projectId}";
/// Maximum number of paths of each kind.
const PATHS_MAX: usize = 20;
const PATH_BYTES_MAX: usize = 500;

/// Webhook paths of one connection, in addition to the paths that every connection has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookPaths {
    /// Paths of Create Defect requests.
    pub create_defect: Vec<String>,
    /// Paths of Defect KPIs requests. Each path contains `{projectId}` in the place of the
    /// project's id.
    pub kpis: Vec<String>,
}

/// An error in [`WebhookPaths`]: a path that is not valid, or a list with too many paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookPathsError {
    /// The member of [`WebhookPaths`] that has the error.
    pub member: &'static str,
    /// The path and the reason why it is not valid, or that the list has too many paths.
    pub why: String,
}

impl WebhookPaths {
    /// Returns an error for each path that is not valid, and for each list with too many paths.
    #[must_use]
    pub fn problems(&self) -> Vec<WebhookPathsError> {
        let problems_of = |member, paths: &[String], needs_project| -> Vec<WebhookPathsError> {
            let invalid =
                paths.iter().filter_map(|path| Some((path, path_problem(path, needs_project)?)));
            let too_many = (paths.len() > PATHS_MAX).then(|| {
                format!("there are {} paths; at most {PATHS_MAX} are allowed", paths.len())
            });
            let invalid = invalid.map(|(path, why)| format!("{path:?}: {why}"));
            too_many
                .into_iter()
                .chain(invalid)
                .map(|why| WebhookPathsError { member, why })
                .collect()
        };
        let mut problems = problems_of("create_defect", &self.create_defect, false);
        problems.extend(problems_of("kpis", &self.kpis, true));
        problems
    }
}

/// Returns the reason why a path is not valid. `needs_project`: it is a path of Defect KPIs
/// requests.
fn path_problem(path: &str, needs_project: bool) -> Option<&'static str> {
    let segments = || path.split('/').skip(1);
    let is_dot_segment = |segment: &str| segment == "." || segment == "..";
    let decoded_dots = path.to_ascii_lowercase().contains("%2e");
    if !path.starts_with('/') || path.trim_matches('/').is_empty() {
        return Some("a path begins with / and has a name, such as /api/new-defect");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("a path must have at most 500 bytes");
    }
    if path.contains(['?', '#', ' ', '\\']) || !path.chars().all(is_printable) {
        return Some(
            "a path must not contain a query, fragment, space, backslash or control character",
        );
    }
    if segments().any(is_dot_segment) || decoded_dots || path.trim_end_matches('/').contains("//") {
        return Some("a path must not contain an empty segment, . or ..");
    }
    match (path.matches(PROJECT_ID).count(), needs_project) {
        (1, true) | (0, false) => None,
        (_, true) => Some("write {projectId} once, in the place of the project's id"),
        (_, false) => Some("{projectId} is allowed in paths of Defect KPIs only"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(create_defect: &[&str], kpis: &[&str]) -> Vec<(&'static str, String)> {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let paths = WebhookPaths { create_defect: owned(create_defect), kpis: owned(kpis) };
        paths.problems().into_iter().map(|problem| (problem.member, problem.why)).collect()
    }

    #[test]
    fn a_path_with_dot_segments_is_refused_and_a_kpi_path_contains_the_project_once() {
        assert_eq!(
            problems(&["/a", "/api/v2/new-defect/"], &["/x/{projectId}", "/p-{projectId}/y"]),
            []
        );
        for wrong in
            ["", "/", "//", "a", "/a/../b", "/./a", "/a%2E%2e/b", "/a//b", "/a?b", "/a b", "/a\\b"]
        {
            assert_eq!(problems(&[wrong], &[]).len(), 1, "{wrong}");
        }
        let long = format!("/{}", "a".repeat(500));
        assert_eq!(problems(&[&long], &[])[0].0, "create_defect");
        for wrong in ["/x", "/{projectId}/{projectId}", "/{project}"] {
            assert_eq!(problems(&[], &[wrong])[0].0, "kpis", "{wrong}");
        }
        assert!(problems(&["/x/{projectId}"], &[])[0].1.contains("Defect KPIs only"));
        assert!(problems(&vec!["/a"; 21], &[])[0].1.contains("at most 20"));
    }
}
