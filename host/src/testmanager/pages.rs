//! Reads lists that Test Manager returns in pages, with the query parameters `top` and `skip`.
//!
//! Both known formats of a page are supported: with `paging` (`total`, `nextPage`), and with
//! `totalItems` and `hasNextPage`. A list is never read without end: reading stops after a maximum
//! number of pages, or when a page begins with the same item as the page before it.

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use crate::memory::Charge;

use super::client::Client;
use super::failure::Failure;
use super::json::{boolean_member, find_member, list_items, number_member};

/// Maximum number of pages that are requested at the same time.
const PARALLEL_PAGES_MAX: usize = 4;
/// If a page is too large, it is requested again with fewer items, down to this number.
const PAGE_ITEMS_MIN: usize = 10;

/// The items of a list that were kept, and a note if items are missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ListItems {
    pub(super) items: Vec<Value>,
    /// The reason why items are missing; absent if the list is complete, or if the kept items are
    /// enough.
    pub(super) note: Option<String>,
}

/// Settings for reading one list.
pub(super) struct Paging<K, E> {
    /// Number of items that are requested with one page, until a page is too large.
    pub(super) page_items: usize,
    /// Maximum number of pages that are read. A page that is too large counts too.
    pub(super) pages_max: usize,
    pub(super) is_kept: K,
    /// Returns whether the kept items are enough, so that no further page is read.
    pub(super) is_enough: E,
}

/// Reads pages until the list ends, a page is repeated, the kept items are enough, or `pages_max`
/// pages were read. If Test Manager reports the length of the list, several pages are requested at
/// the same time.
///
/// # Errors
/// A page could not be read. The items of earlier pages are not returned, because the missing pages
/// may contain the item that the caller searches for.
pub(super) async fn read_pages<K, E>(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    paging: Paging<K, E>,
) -> Result<ListItems, Failure>
where
    K: Fn(&Value) -> bool,
    E: Fn(&[Value]) -> bool,
{
    let mut progress = ListProgress { page_items: paging.page_items, ..ListProgress::default() };
    let mut pages_left = paging.pages_max;
    // A round requests one or more pages after the items that were read so far. If it requests
    // several pages, it expects as many items in each as in the page that was read last.
    while pages_left > 0 {
        let (first_skip, page_items) = (progress.read_count, progress.page_items);
        let page_size = progress.expected_page_items();
        let (pages, parallel) = progress.plan_round(pages_left);
        let skips = (0..pages).map(|page| first_skip + page * page_size);
        let requests = skips.map(|skip| request_page(client, path, query, page_items, skip));
        let mut answers = stream::iter(requests).buffered(parallel);
        while let Some(answer) = answers.next().await {
            pages_left -= 1;
            let (answer, charge) = match answer {
                Ok(answer) => answer,
                Err(Failure::TooLarge(_)) if page_items > PAGE_ITEMS_MIN => {
                    progress.use_smaller_pages();
                    break;
                }
                Err(failure) => return Err(progress.failure_with_progress(&failure)),
            };
            let kept_before = progress.list.items.len();
            let next = progress.add_page(&answer, &paging)?;
            if progress.list.items.len() > kept_before {
                client.context.keep_charge(charge);
            }
            match next {
                NextStep::End => return Ok(progress.list),
                NextStep::Round => break,
                NextStep::Page => {}
            }
        }
    }
    progress.list.note = Some(progress.incomplete_note());
    Ok(progress.list)
}

async fn request_page(
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
enum NextStep {
    /// Read the next page of this round.
    Page,
    /// Begin another round, because the pages may have another size than expected.
    Round,
    /// Read no further page.
    End,
}

#[derive(Default)]
struct ListProgress {
    list: ListItems,
    /// Number of items that are requested with one page.
    page_items: usize,
    read_count: usize,
    /// Number of items in the page that was read last, which may be fewer than requested. `None`
    /// before the first page, and after a page that was too large.
    last_page_items: Option<usize>,
    /// Number of items in the whole list, if Test Manager reports it.
    total: Option<u64>,
    /// The first item of the page that was read last. A page that begins with the same item is a
    /// repeated page.
    first_item: Option<Value>,
}

impl ListProgress {
    fn expected_page_items(&self) -> usize {
        self.last_page_items.unwrap_or(self.page_items).max(1)
    }

    /// Returns the number of pages of the next round, and how many of them may be requested at the
    /// same time.
    fn plan_round(&self, pages_left: usize) -> (usize, usize) {
        let Some((total, _)) = self.total.zip(self.last_page_items) else { return (1, 1) };
        let items = usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(self.read_count);
        (items.div_ceil(self.expected_page_items()).clamp(1, pages_left), PARALLEL_PAGES_MAX)
    }

    fn use_smaller_pages(&mut self) {
        (self.page_items, self.last_page_items) =
            ((self.page_items / 10).max(PAGE_ITEMS_MIN), None);
    }

    /// Adds the items of a page that are kept.
    fn add_page<K, E>(&mut self, answer: &Value, paging: &Paging<K, E>) -> Result<NextStep, Failure>
    where
        K: Fn(&Value) -> bool,
        E: Fn(&[Value]) -> bool,
    {
        let Some(found) = list_items(answer) else { return Err(not_a_list()) };
        if self.first_item.is_some() && self.first_item.as_ref() == found.first() {
            self.list.note = Some("Test Manager returns the same page repeatedly".to_owned());
            return Ok(NextStep::End);
        }
        self.first_item = found.first().cloned();
        self.read_count += found.len();
        self.total = total_items(answer);
        if found.is_empty() && self.total.is_some_and(|total| (self.read_count as u64) < total) {
            self.list.note = Some(self.incomplete_note());
            return Ok(NextStep::End);
        }
        self.list.items.extend(found.iter().filter(|item| (paging.is_kept)(item)).cloned());
        if (paging.is_enough)(&self.list.items)
            || !has_more(answer, found.len(), self.read_count, self.page_items)
        {
            return Ok(NextStep::End);
        }
        let has_same_size = self.last_page_items == Some(found.len());
        self.last_page_items = Some(found.len());
        Ok(if has_same_size { NextStep::Page } else { NextStep::Round })
    }

    fn incomplete_note(&self) -> String {
        let all = self.total.map_or_else(|| "more".to_owned(), |total| total.to_string());
        format!("Test Manager has {all} entries, and {} were read", self.read_count)
    }

    /// Returns the failure of a page, with the number of items that were read before this page.
    fn failure_with_progress(&self, failure: &Failure) -> Failure {
        if self.read_count == 0 {
            return failure.clone();
        }
        let all = self.total.map_or_else(String::new, |total| format!(" of {total}"));
        let (why, read_count) = (failure.why(), self.read_count);
        Failure::Other(format!("{why}; the search stopped after {read_count}{all} entries"))
    }
}

pub(super) fn not_a_list() -> Failure {
    Failure::Other("Test Manager's answer contains no list".to_owned())
}

fn total_items(answer: &Value) -> Option<u64> {
    let paging = find_member(answer, &["paging"]).unwrap_or(answer);
    number_member(paging, &["total", "totalItems", "totalCount"])
}

/// Whether the list continues after a page of `count` items, if `sum` items were read so far. `top`
/// is the number of items that were requested with the page.
pub(super) fn has_more(answer: &Value, count: usize, sum: usize, top: usize) -> bool {
    if count == 0 {
        return false;
    }
    let paging = find_member(answer, &["paging"]).unwrap_or(answer);
    if let Some(total) = total_items(answer) {
        return (sum as u64) < total;
    }
    if let Some(has_next) = boolean_member(paging, &["hasNextPage"]) {
        return has_next;
    }
    match find_member(paging, &["nextPage"]) {
        Some(Value::Bool(has_next)) => *has_next,
        Some(_) => true,
        None => find_member(answer, &["paging"]).is_none() && count >= top,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_shows_whether_more_pages_follow() {
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
