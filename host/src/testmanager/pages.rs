//! Reads lists that Test Manager answers in pages, with the parameters `top` and `skip`.
//!
//! Both known forms of a page are read: with `paging` (`total`, `nextPage`), and with `totalItems`
//! and `hasNextPage`. Reading stops after a number of pages, or when a page repeats the one before.

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use crate::memory::Charge;

use super::client::Client;
use super::failure::Failure;
use super::json::{flag, items, member, number};

/// Maximum number of pages that are requested at the same time.
const PAGES_AT_ONCE: usize = 4;
/// If a page is too large, it is requested again with fewer items, down to this number.
const TOP_MIN: usize = 10;

/// The items that were read, and a note if the list has more.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ListItems {
    pub(super) items: Vec<Value>,
    /// The reason why items are missing; absent if the list is complete or enough was read.
    pub(super) note: Option<String>,
}

/// Settings for reading one list.
pub(super) struct Paging<K, E> {
    /// Number of items that one request asks for.
    pub(super) top: usize,
    /// Maximum number of pages.
    pub(super) pages_max: usize,
    /// Returns whether an item is kept.
    pub(super) keep: K,
    /// Returns whether the kept items are enough, so that no further page is read.
    pub(super) enough: E,
}

/// Reads pages until the list ends, the kept items are enough, or `pages_max` pages were read. If
/// Test Manager says how long the list is, several pages are requested at the same time.
///
/// # Errors
/// A page could not be read. The items before it are not returned, because the rest may contain the
/// item that is searched for.
pub(super) async fn read<K, E>(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    paging: Paging<K, E>,
) -> Result<ListItems, Failure>
where
    K: Fn(&Value) -> bool,
    E: Fn(&[Value]) -> bool,
{
    let mut progress =
        ListProgress { top: paging.top, listed: ListItems::default(), ..ListProgress::default() };
    let mut left = paging.pages_max;
    // Each round begins after the items that were read, with the page size that Test Manager uses.
    while left > 0 {
        let (from, top, size) = (progress.seen, progress.top, progress.page_items());
        let (pages, at_once) = progress.ahead(left);
        let skips = (0..pages).map(|page| from + page * size);
        let requests = skips.map(|skip| page(client, path, query, top, skip));
        let mut answers = stream::iter(requests).buffered(at_once);
        while let Some(answer) = answers.next().await {
            left -= 1;
            let (answer, charge) = match answer {
                Ok(answer) => answer,
                Err(Failure::TooLarge(_)) if top > TOP_MIN => {
                    progress.use_smaller_pages();
                    break;
                }
                Err(failure) => return Err(progress.stopped(&failure)),
            };
            let kept = progress.listed.items.len();
            let next = progress.add(&answer, &paging)?;
            if progress.listed.items.len() > kept {
                client.shared.keep(charge);
            }
            match next {
                Next::End => return Ok(progress.listed),
                Next::Round => break,
                Next::Page => {}
            }
        }
    }
    let seen = progress.seen;
    let all = progress.total.map_or_else(|| "more".to_owned(), |total| total.to_string());
    progress.listed.note = Some(format!("Test Manager has {all} entries, and {seen} were read"));
    Ok(progress.listed)
}

/// Requests one page.
async fn page(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    top: usize,
    skip: usize,
) -> Result<(Value, Charge), Failure> {
    let (top, skip) = (top.to_string(), skip.to_string());
    let page = [("top", top.as_str()), ("skip", skip.as_str())];
    client.get_charged(path, &[query, &page].concat()).await
}

/// The step that follows a page.
enum Next {
    /// Read the next page of this round.
    Page,
    /// Begin another round, because the pages have another size than expected.
    Round,
    /// Stop: the list is complete, or the kept items are enough.
    End,
}

/// The progress of reading a list.
#[derive(Default)]
struct ListProgress {
    listed: ListItems,
    top: usize,
    /// Number of items that were read.
    seen: usize,
    /// Number of items in the last page: a server may answer fewer items than requested.
    size: Option<usize>,
    /// Number of items in the whole list, if Test Manager says it.
    total: Option<u64>,
    /// The first item of the last page, by which a repeated page is recognised.
    first: Option<Value>,
}

impl ListProgress {
    fn page_items(&self) -> usize {
        self.size.unwrap_or(self.top).max(1)
    }

    /// The number of pages of the next round, and how many of them are requested at the same time.
    fn ahead(&self, left: usize) -> (usize, usize) {
        let Some((total, _)) = self.total.zip(self.size) else { return (1, 1) };
        let items = usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(self.seen);
        (items.div_ceil(self.page_items()).clamp(1, left), PAGES_AT_ONCE)
    }

    fn use_smaller_pages(&mut self) {
        (self.top, self.size) = ((self.top / 10).max(TOP_MIN), None);
    }

    /// Adds the items of a page that are kept.
    fn add<K, E>(&mut self, answer: &Value, paging: &Paging<K, E>) -> Result<Next, Failure>
    where
        K: Fn(&Value) -> bool,
        E: Fn(&[Value]) -> bool,
    {
        let Some(found) = items(answer) else { return Err(no_list()) };
        if self.first.is_some() && self.first.as_ref() == found.first() {
            self.listed.note =
                Some("Test Manager answers the same page again and again".to_owned());
            return Ok(Next::End);
        }
        self.first = found.first().cloned();
        self.seen += found.len();
        self.total = total(answer);
        self.listed.items.extend(found.iter().filter(|item| (paging.keep)(item)).cloned());
        if (paging.enough)(&self.listed.items)
            || !has_more(answer, found.len(), self.seen, self.top)
        {
            return Ok(Next::End);
        }
        let is_as_before = self.size == Some(found.len());
        self.size = Some(found.len());
        Ok(if is_as_before { Next::Page } else { Next::Round })
    }

    /// The failure of a page, which also says how many items were read before it.
    fn stopped(&self, failure: &Failure) -> Failure {
        if self.seen == 0 {
            return failure.clone();
        }
        let all = self.total.map_or_else(String::new, |total| format!(" of {total}"));
        let (why, seen) = (failure.why(), self.seen);
        Failure::Other(format!("{why}; the search stopped after {seen}{all} entries"))
    }
}

/// The failure for an answer that is not a list.
pub(super) fn no_list() -> Failure {
    Failure::Other("Test Manager's answer contains no list".to_owned())
}

/// The number of items in the whole list; `None` if the answer does not say it.
fn total(answer: &Value) -> Option<u64> {
    let paging = member(answer, &["paging"]).unwrap_or(answer);
    number(paging, &["total", "totalItems", "totalCount"])
}

/// Whether the list continues after a page of `count` items, with `sum` items so far.
pub(super) fn has_more(answer: &Value, count: usize, sum: usize, top: usize) -> bool {
    if count == 0 {
        return false;
    }
    let paging = member(answer, &["paging"]).unwrap_or(answer);
    if let Some(total) = total(answer) {
        return (sum as u64) < total;
    }
    if let Some(has_next) = flag(paging, &["hasNextPage"]) {
        return has_next;
    }
    match member(paging, &["nextPage"]) {
        Some(Value::Bool(has_next)) => *has_next,
        Some(_) => true,
        None => member(answer, &["paging"]).is_none() && count >= top,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_says_whether_the_list_goes_on() {
        for (answer, count, sum, more) in [
            (json!({"data": [], "paging": {"total": 9}}), 0, 4, false),
            (json!({"paging": {"total": 9, "returned": 4}}), 4, 4, true),
            (json!({"paging": {"total": 9}}), 1, 9, false),
            (json!({"paging": {"total": null, "nextPage": 2}}), 4, 4, true),
            (json!({"paging": {"nextPage": null}}), 4, 4, false),
            (json!({"paging": {"nextPage": false}}), 4, 4, false),
            (json!({"totalItems": 5, "hasNextPage": false}), 4, 4, true),
            (json!({"hasNextPage": true}), 2, 2, true),
            (json!({"hasNextPage": false}), 4, 4, false),
            (json!([1, 2, 3, 4]), 4, 4, true),
            (json!([1, 2, 3]), 3, 3, false),
        ] {
            assert_eq!(has_more(&answer, count, sum, 4), more, "{answer} {count} {sum}");
        }
    }
}
