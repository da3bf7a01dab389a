//! Finds events by an id, by their defect, and by words of their detail. Each of these searches
//! uses an index.
//!
//! Stores words only for events that have a detail.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::columns::to_json;
use super::database::{Database, params};
use super::values::{Kind, Value};
use crate::domain::EventSearch;
use crate::store::StoreError;

/// The estimated size of the row of a word and of its index entry, bytes. The word itself is not
/// included.
const WORD_ROW_BYTES: usize = 60;

/// A statement that finds events, and the parameters that describe the search.
pub(super) struct EventQuery<'a> {
    /// The statement, with the parameters 1 to 11.
    pub(super) sql: &'static str,
    /// The parameters 9 to 11. The parameters 1 to 8 are the same for all statements.
    pub(super) search_params: [Value<'a>; 3],
}

/// Makes a statement that selects from `$from` the events that meet `$condition` and the conditions
/// of the parameters 1 to 8.
macro_rules! select_events {
    ($from:literal, $condition:literal) => {
        concat!(
            "SELECT events.id, connection_id, kind, received_at, ms, status, outcome, detail, request,
                defect_id
             FROM ",
            $from,
            " WHERE ",
            $condition,
            " AND (?1 IS NULL OR received_at >= ?1) AND (?2 IS NULL OR received_at < ?2)
               AND (?3 IS NULL OR connection_id = ?3) AND (?4 IS NULL OR kind = ?4)
               AND (?5 IS NULL OR outcome = ?5) AND (?6 IS NULL OR events.id < ?6)
               AND (?8 IS NULL OR connection_id IN (SELECT unhex(value) FROM json_each(?8)))
               AND (connection_id IS NULL
                    OR connection_id NOT IN (SELECT id FROM connections WHERE deleted))
             ORDER BY events.id DESC LIMIT ?7"
        )
    };
}

const SELECT_ALL: &str = select_events!("events", "?9 IS NULL AND ?10 IS NULL AND ?11 IS NULL");
const SELECT_BY_ID: &str =
    select_events!("events", "events.id = ?9 AND ?10 IS NULL AND ?11 IS NULL");
const SELECT_BY_DEFECT: &str = select_events!(
    "events",
    "defect_id IN (
        SELECT id FROM defects WHERE id = ?9
        UNION SELECT id FROM defects
            WHERE connection_id IN (SELECT id FROM connections) AND test_case_id = ?9
              AND (?10 IS NULL OR test_execution_id = ?10)) AND ?11 IS NULL"
);
const SELECT_BY_KEY: &str = select_events!(
    "events",
    "defect_id IN (SELECT id FROM defects WHERE key = ?9) AND ?10 IS NULL AND ?11 IS NULL"
);
/// `CROSS JOIN` makes SQLite read the words first. The rows of a word are in the order of the event
/// ids, so SQLite does not sort the result.
const SELECT_BY_WORDS: &str = select_events!(
    "event_words first CROSS JOIN events",
    "first.word = ?9 AND events.id = first.event_id
     AND (?10 IS NULL OR EXISTS (SELECT 1 FROM event_words other
            WHERE other.word = ?10 AND other.event_id = first.event_id))
     AND (?11 IS NULL OR EXISTS (SELECT 1 FROM event_words other
            WHERE other.word = ?11 AND other.event_id = first.event_id))"
);

/// Returns the statements that find the events of a search. They use only its first three words.
pub(super) fn make_queries(search: Option<&EventSearch>) -> Vec<EventQuery<'_>> {
    let (id, text) = (Value::Null(Kind::Id), Value::Null(Kind::Text));
    let query = |sql, search_params| EventQuery { sql, search_params };
    match search {
        None => vec![query(SELECT_ALL, [id, id, text])],
        Some(EventSearch::Id(wanted)) => {
            let wanted = Value::Id(*wanted);
            vec![
                query(SELECT_BY_ID, [wanted, id, text]),
                query(SELECT_BY_DEFECT, [wanted, id, text]),
            ]
        }
        Some(EventSearch::FailedTest { execution, case }) => {
            vec![query(SELECT_BY_DEFECT, [Value::Id(*case), Value::Id(*execution), text])]
        }
        Some(EventSearch::Text { key, words }) => {
            let by_key = query(SELECT_BY_KEY, [Value::Text(key), text, text]);
            let mut words = words.iter().map(|word| Value::Text(word));
            let by_words = words.next().map(|first| {
                let mut next = || words.next().unwrap_or(text);
                query(SELECT_BY_WORDS, [first, next(), next()])
            });
            std::iter::once(by_key).chain(by_words).collect()
        }
    }
}

/// Returns the estimated size of the rows of these words, bytes.
pub(super) fn word_rows_bytes(words: &BTreeSet<String>) -> usize {
    words.iter().map(|word| WORD_ROW_BYTES + 2 * word.len()).sum()
}

/// Stores the words of the details of events, and deletes the earlier words of these events. If an
/// event has no words any more, its earlier words stay.
pub(super) fn store_words<'w>(
    db: &dyn Database,
    events: impl Iterator<Item = (Uuid, &'w BTreeSet<String>)>,
) -> Result<(), StoreError> {
    let mut changed_events = Vec::new();
    let mut rows = Vec::new();
    for (id, words) in events.filter(|(_, words)| !words.is_empty()) {
        changed_events.push(id.simple().to_string());
        rows.extend(words.iter().map(|word| vec![Value::Text(word), Value::Id(id)]));
    }
    if changed_events.is_empty() {
        return Ok(());
    }
    db.change(
        "DELETE FROM event_words WHERE event_id IN (SELECT unhex(value) FROM json_each(?))",
        params![to_json(&changed_events)?],
    )?;
    db.insert_rows("INSERT INTO event_words (word, event_id) VALUES (?, ?)", &rows)?;
    Ok(())
}
