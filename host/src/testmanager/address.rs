//! Builds the URLs of Test Manager's API, and names the OAuth scope that a request probably needs.
//! Never sends a request.

use url::Url;

/// Builds the URL of a request: the base URL with its path, then the path of the API, then `path`
/// and `query`.
pub(super) fn api_url(base_url: &Url, path: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base_url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["api", "v2"]).extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Returns the scope that a request with this path probably needs, for the message of a failure.
pub(super) fn required_scope(path: &[&str]) -> &'static str {
    let collection = if path.first() == Some(&"projects") {
        "projects"
    } else {
        path.get(1).copied().unwrap_or_default()
    };
    match (collection, path.last().copied()) {
        (_, Some("assignedrequirements")) => "TM.Requirements.Read",
        ("projects", _) => "TM.Projects.Read",
        ("testcases" | "teststeps" | "objectlabels", _) => "TM.TestCases.Read",
        ("testsets", _) => "TM.TestSets.Read",
        ("attachments", _) => "TM.Attachments.Read",
        ("customfieldvalues", _) => "TM.CustomFieldValues.Read",
        _ => "TM.TestExecutions.Read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_the_base_path_and_encodes_its_segments() {
        for (base, url) in [
            ("https://tm.example", "https://tm.example/api/v2/p/x%2F..%3F?top=1&q=a+b"),
            ("https://tm.example/", "https://tm.example/api/v2/p/x%2F..%3F?top=1&q=a+b"),
            ("https://tm.example/o/t_/", "https://tm.example/o/t_/api/v2/p/x%2F..%3F?top=1&q=a+b"),
        ] {
            let base = Url::parse(base).unwrap();
            let built = api_url(&base, &["p", "x/..?"], &[("top", "1"), ("q", "a b")]);
            assert_eq!(built.as_str(), url);
        }
    }

    #[test]
    fn the_path_determines_the_required_scope() {
        for (path, scope) in [
            (&["projects", "prefix", "SHOP"][..], "TM.Projects.Read"),
            (&["1", "testcases", "2", "assignedrequirements"], "TM.Requirements.Read"),
            (&["1", "customfieldvalues", "TestCase", "all"], "TM.CustomFieldValues.Read"),
            (&["1", "testcaselogs", "2"], "TM.TestExecutions.Read"),
        ] {
            assert_eq!(required_scope(path), scope);
        }
    }
}
