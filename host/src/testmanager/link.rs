//! Reads the project's prefix from the link to a test case log.
//!
//! Links that were seen: `{address}/{prefix}/testexecution-results/{execution}/{case}`, where the
//! address may have a path. Which links the webhook sends is not documented.

use url::Url;

/// Maximum length of a prefix, characters.
const PREFIX_CHARS_MAX: usize = 50;

/// The prefix in a link: the part before the page, or else the first part below Test Manager's
/// address.
pub(super) fn project_prefix(link: &str, base_url: &Url) -> Option<String> {
    let link = Url::parse(link).ok()?;
    // A single-page application may have its path after the number sign.
    let fragment = link.fragment().unwrap_or_default().trim_start_matches('!');
    before_page(fragment).or_else(|| before_page(link.path())).or_else(|| below(&link, base_url))
}

/// The part before a page of results.
fn before_page(path: &str) -> Option<String> {
    let parts: Vec<_> = path.split(['/', '?']).filter(|part| !part.is_empty()).collect();
    let page = parts.iter().position(|part| is_page(part))?;
    prefix(parts.get(page.checked_sub(1)?)?)
}

fn is_page(part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    ["testexecution", "test-execution", "testcaselog", "test-case-log"]
        .iter()
        .any(|page| part.starts_with(page))
}

/// The first segment below Test Manager's address, if more segments follow.
fn below(link: &Url, base_url: &Url) -> Option<String> {
    let rest = link.path().strip_prefix(base_url.path().trim_end_matches('/'))?;
    let mut parts = rest.split('/').filter(|part| !part.is_empty());
    let first = parts.next()?;
    parts.next().and_then(|_| prefix(first))
}

fn prefix(part: &str) -> Option<String> {
    let fits = (1..=PREFIX_CHARS_MAX).contains(&part.len())
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    // Neither a page nor Test Manager's own path is a prefix.
    let is_own = is_page(part) || part.eq_ignore_ascii_case("testmanager_");
    (fits && !is_own).then(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_the_prefix_of_its_project() {
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
