//! Short ids of events and defects. Lists print the beginning of each id, and commands accept this
//! beginning as an argument. An id that is printed as JSON is never shortened.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use serde_json::Value;
use uuid::Uuid;

use super::client::{Answer, Client, with_query};
use super::ordered::Json;

/// Minimum number of hexadecimal digits of an id in an argument.
const ID_DIGITS_MIN: usize = 4;
const ID_DIGITS: usize = 32;
/// Minimum length of an id in a list, in characters. Ids begin with their creation time, and ids of
/// the same period of 65 s have these characters in common.
const LIST_ID_CHARS_MIN: usize = 8;
/// Length of a short id that is printed alone, in characters. Ids of the same millisecond have
/// these characters in common.
const SHORT_ID_CHARS: usize = 13;
/// Maximum number of ids that an error lists if several ids begin with the argument.
const CANDIDATES_MAX: usize = 10;

/// An argument that is an id, or the beginning of an id.
#[derive(Clone)]
pub(super) struct IdPrefix {
    text: String,
    /// The hexadecimal digits in lower case, without hyphens.
    digits: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidId {
    #[error("not an id: give its 32 hexadecimal digits, or the first of them")]
    NotHexadecimal,
    #[error("the id is too short: give at least its first {ID_DIGITS_MIN} digits")]
    TooShort,
}

impl FromStr for IdPrefix {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.replace('-', "").to_ascii_lowercase();
        if digits.len() > ID_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidId::NotHexadecimal);
        }
        if digits.len() < ID_DIGITS_MIN {
            return Err(InvalidId::TooShort);
        }
        Ok(Self { text: text.to_owned(), digits })
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl IdPrefix {
    /// Returns a complete id unchanged. Otherwise returns the only id that begins with these
    /// digits. `kind` is `event` or `defect`.
    pub(super) fn resolve(&self, admin: &Client, kind: &str) -> anyhow::Result<Uuid> {
        // The cursor is the highest id that can begin with these digits. The server lists the ids
        // below the cursor in descending order. A complete id is not looked up, because this list
        // would not contain it.
        let last: Uuid = format!("{:f<ID_DIGITS$}", self.digits).parse()?;
        if self.digits.len() == ID_DIGITS {
            return Ok(last);
        }
        let query = serde_json::json!({"cursor": last, "limit": CANDIDATES_MAX + 1});
        let page: Answer<Value> = admin.get(&with_query(&format!("/{kind}s"), &query)?)?;
        let ids = page.json().list_items(&format!("{kind}s")).iter().filter_map(record_id);
        let mut found: Vec<_> = ids.take_while(|id| self.is_beginning_of(*id)).collect();
        match found[..] {
            [] => bail!("there is no {kind} {self}: run `jackfield {kind}s list` to see all"),
            [id] => Ok(id),
            _ => {
                let more = if found.len() > CANDIDATES_MAX { ", and more" } else { "" };
                found.truncate(CANDIDATES_MAX);
                let ids: Vec<_> = found.iter().map(Uuid::to_string).collect();
                bail!("more than one {kind} begins with {self}: {}{more}", ids.join(", "))
            }
        }
    }

    fn is_beginning_of(&self, id: Uuid) -> bool {
        id.simple().to_string().starts_with(&self.digits)
    }
}

fn record_id(record: &Json) -> Option<Uuid> {
    let Json::Members(members) = record else { return None };
    let (_, id) = members.iter().find(|(name, _)| name == "id")?;
    let Json::Scalar(Value::String(id)) = id else { return None };
    id.parse().ok()
}

pub(super) fn short_id(id: Uuid) -> String {
    id.to_string().chars().take(SHORT_ID_CHARS).collect()
}

/// A row of a printed list: a record, and its short id.
pub(super) struct ListRow<T> {
    pub(super) short_id: String,
    pub(super) record: T,
}

/// Returns the rows of a list. The ids are cut to the smallest length at which they differ, at
/// least [`LIST_ID_CHARS_MIN`].
pub(super) fn with_short_ids<T>(records: Vec<T>, id: impl Fn(&T) -> Uuid) -> Vec<ListRow<T>> {
    let mut ids: Vec<_> = records.iter().map(|it| id(it).to_string()).collect();
    let mut lengths = (LIST_ID_CHARS_MIN..).take(ID_DIGITS);
    let chars = lengths.find(|chars| are_valid_short_ids(&ids, *chars));
    ids.iter_mut().for_each(|id| id.truncate(chars.unwrap_or(usize::MAX)));
    ids.into_iter().zip(records).map(|(short_id, record)| ListRow { short_id, record }).collect()
}

/// Returns whether the first `chars` characters of all ids differ, and none of these beginnings
/// ends with a hyphen.
fn are_valid_short_ids(ids: &[String], chars: usize) -> bool {
    let beginnings = ids.iter().map(|id| id.get(..chars).unwrap_or(id));
    let mut beginnings: Vec<_> = beginnings.collect();
    beginnings.sort_unstable();
    !beginnings.iter().any(|id| id.ends_with('-'))
        && beginnings.windows(2).all(|pair| pair.first() != pair.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short_ids(ids: &[&str]) -> Vec<String> {
        let ids = ids.iter().map(|id| id.parse::<Uuid>().expect("an id")).collect();
        with_short_ids(ids, |id| *id).into_iter().map(|row| row.short_id).collect()
    }

    #[test]
    fn ids_in_a_list_are_as_short_as_possible() {
        let one = "01a2b3c4-d5e6-7000-8000-000000000001";
        assert_eq!(short_ids(&[one]), ["01a2b3c4"]);
        for (other, expected) in [
            ("01a2b3c5-d5e6-7000-8000-000000000001", "01a2b3c5"),
            ("01a2b3c4-05e6-7000-8000-000000000001", "01a2b3c4-0"),
            ("01a2b3c4-d5e7-7000-8000-000000000001", "01a2b3c4-d5e7"),
            ("01a2b3c4-d5e6-7100-8000-000000000001", "01a2b3c4-d5e6-71"),
            ("01a2b3c4-d5e6-7000-8000-000000000002", "01a2b3c4-d5e6-7000-8000-000000000002"),
        ] {
            assert_eq!(short_ids(&[one, other])[1], expected);
        }
        assert!(short_ids(&[]).is_empty());
    }

    #[test]
    fn the_beginning_of_an_id_is_read_with_and_without_hyphens() {
        let id: Uuid = "01a2b3c4-d5e6-7000-8000-000000000001".parse().expect("an id");
        for text in ["01a2", "01A2b3c4", "01a2b3c4-d", "01a2b3c4d5", &id.to_string()] {
            let prefix: IdPrefix = text.parse().expect("a beginning");
            assert!(prefix.is_beginning_of(id), "{text}");
        }
        let other: IdPrefix = "01a3".parse().expect("a beginning");
        assert!(!other.is_beginning_of(id));
        for wrong in ["", "01a", "0-1-a", "01ag", "ä1a2", &format!("{id}0")] {
            assert!(wrong.parse::<IdPrefix>().is_err(), "{wrong}");
        }
    }
}
