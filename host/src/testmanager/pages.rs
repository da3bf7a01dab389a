//! Lists that Test Manager answers in pages, by `top` and `skip`.
//!
//! Both shapes of a page are read: with `paging` (`total`, `nextPage`), and with `totalItems` and
//! `hasNextPage`. Stops after a number of pages, and where a page brings nothing new.

use serde_json::Value;

use super::client::Client;
use super::failure::Failure;
use super::json::{flag, items, member, number};

/// A list and what is not in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Listed {
    pub(super) items: Vec<Value>,
    /// Why it has not all items.
    pub(super) note: Option<String>,
}

/// How a list is read.
pub(super) struct Paging<K, E> {
    /// Items that are asked for at once.
    pub(super) top: usize,
    /// Maximum number of pages.
    pub(super) pages_max: usize,
    /// Which items are kept.
    pub(super) keep: K,
    /// Whether the items that were kept are enough.
    pub(super) enough: E,
}

/// Reads pages until the list ends, or enough was found.
pub(super) async fn read<K, E>(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    paging: Paging<K, E>,
) -> Result<Listed, Failure>
where
    K: Fn(&Value) -> bool,
    E: Fn(&[Value]) -> bool,
{
    let Paging { top, pages_max, keep, enough } = paging;
    let mut listed = Listed::default();
    let (mut seen, mut first) = (0_usize, None);
    for _ in 0..pages_max {
        // A server may answer fewer items than it was asked for.
        let (top_text, skip) = (top.to_string(), seen.to_string());
        let mut query = query.to_vec();
        query.extend([("top", top_text.as_str()), ("skip", skip.as_str())]);
        let answer = client.get(path, &query).await?;
        let Some(found) = items(&answer) else { return Err(no_list()) };
        if first.is_some() && first.as_ref() == found.first() {
            listed.note = Some("Test Manager answers the same page again and again".to_owned());
            return Ok(listed);
        }
        first = found.first().cloned();
        seen += found.len();
        listed.items.extend(found.iter().filter(|item| keep(item)).cloned());
        if enough(&listed.items) || !has_more(&answer, found.len(), seen, top) {
            return Ok(listed);
        }
    }
    listed.note = Some(format!("Test Manager has more than the {seen} that were read"));
    Ok(listed)
}

/// The failure for an answer that is not a list.
pub(super) fn no_list() -> Failure {
    Failure::Other("Test Manager's answer contains no list".to_owned())
}

/// Whether the list goes on after a page of `count` items, with `sum` items so far.
pub(super) fn has_more(answer: &Value, count: usize, sum: usize, top: usize) -> bool {
    if count == 0 {
        return false;
    }
    let paging = member(answer, &["paging"]).unwrap_or(answer);
    let total = number(paging, &["total", "totalItems", "totalCount"]);
    if let Some(total) = total {
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
