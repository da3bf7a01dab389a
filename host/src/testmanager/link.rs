//! Reads the project's prefix from the link to a test case log.
//!
//! Observed links have the form `{address}/{prefix}/testexecution-results/{execution}/{case}`,
//! where the address may have a path. The form of the links in webhooks is not documented.

use url::Url;

const PREFIX_CHARS_MAX: usize = 50;

/// Returns the project's prefix in a link: the path segment before the results page, or else the
/// first segment below Test Manager's address.
pub(super) fn project_prefix(link: &str, base_url: &Url) -> Option<String> {
    let link = Url::parse(link).ok()?;
    // A single-page application may have its path after `#`.
    let fragment = link.fragment().unwrap_or_default().trim_start_matches('!');
    prefix_before_page(fragment)
        .or_else(|| prefix_before_page(link.path()))
        .or_else(|| prefix_below_address(&link, base_url))
}

fn prefix_before_page(path: &str) -> Option<String> {
    let segments: Vec<_> = path.split(['/', '?']).filter(|segment| !segment.is_empty()).collect();
    let page = segments.iter().position(|segment| is_results_page(segment))?;
    valid_prefix(segments.get(page.checked_sub(1)?)?)
}

fn is_results_page(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase();
    ["testexecution", "test-execution", "testcaselog", "test-case-log"]
        .iter()
        .any(|page| segment.starts_with(page))
}

/// Returns the first segment below Test Manager's address, if more segments follow it.
fn prefix_below_address(link: &Url, base_url: &Url) -> Option<String> {
    let rest = link.path().strip_prefix(base_url.path().trim_end_matches('/'))?;
    let mut segments = rest.split('/').filter(|segment| !segment.is_empty());
    let first = segments.next()?;
    segments.next().and_then(|_| valid_prefix(first))
}

fn valid_prefix(segment: &str) -> Option<String> {
    let is_valid = (1..=PREFIX_CHARS_MAX).contains(&segment.len())
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    // The name of a page and Test Manager's own path are not prefixes.
    let is_reserved = is_results_page(segment) || segment.eq_ignore_ascii_case("testmanager_");
    (is_valid && !is_reserved).then(|| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_read_from_the_link() {
        let base = Url::parse("https://tm.example/org/tenant/testmanager_").unwrap();
        for (link, found) in [
            ("https://tm.example/org/tenant/testmanager_/SHOP/testexecution-results/1/2", "SHOP"),
            ("https://tm.example/SHOP/testexecution-results/1/2?tab=log", "SHOP"),
            ("https://tm.example/SHOP/TestExecution-Results/1/2/", "SHOP"),
            ("https://tm.example/org/tenant/testmanager_/#/SHOP/testexecutions/1", "SHOP"),
            ("https://tm.example/org/tenant/testmanager_/SHOP/results/1/2", "SHOP"),
            ("https://tm.example/org/tenant/testmanager_/MY-APP_2/test-case-logs/1", "MY-APP_2"),
        ] {
            assert_eq!(project_prefix(link, &base).as_deref(), Some(found), "{link}");
        }
        for link in [
            "",
            "SHOP/testexecution-results/1/2",
            "https://tm.example/testexecution-results/1/2",
            "https://tm.example/org/tenant/testmanager_/testexecution-results/1/2",
            "https://tm.example/org/tenant/testmanager_/SHOP",
            "https://other.example/SHOP/results/1",
            "https://tm.example/..%2f/testexecution-results/1/2",
            &format!("https://tm.example/{}/testexecution-results/1", "x".repeat(51)),
        ] {
            assert_eq!(project_prefix(link, &base), None, "{link}");
        }
    }
}
