//! Finds events by an id, by their defect and by words of their error, each with an index.
//!
//! Keeps words of errors only: most events have none, so they cost nothing.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::columns::to_json;
use super::database::{Database, params};
use super::values::{Kind, Value};
use crate::domain::EventSearch;
use crate::store::StoreError;

/// The estimated size of a word's row and of its entry in the index, without the word itself.
const WORD_BYTES: usize = 60;

/// A statement that finds some events, and its parameters from the ninth on.
pub(super) struct EventQuery<'a> {
    pub(super) select: &'static str,
    pub(super) params: [Value<'a>; 3],
}

/// Selects events that meet the conditions 1 to 8 from a table, and meet another condition.
macro_rules! select {
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

const ALL: &str = select!("events", "?9 IS NULL AND ?10 IS NULL AND ?11 IS NULL");
const OF_ID: &str = select!("events", "events.id = ?9 AND ?10 IS NULL AND ?11 IS NULL");
const OF_DEFECT: &str = select!(
    "events",
    "defect_id IN (
        SELECT id FROM defects WHERE id = ?9
        UNION SELECT id FROM defects
            WHERE connection_id IN (SELECT id FROM connections) AND test_case_id = ?9
              AND (?10 IS NULL OR test_execution_id = ?10)) AND ?11 IS NULL"
);
const OF_KEY: &str = select!(
    "events",
    "defect_id IN (SELECT id FROM defects WHERE key = ?9) AND ?10 IS NULL AND ?11 IS NULL"
);
/// `CROSS JOIN` makes SQLite begin with the words, which are sorted as the answer is.
const OF_WORDS: &str = select!(
    "event_words first CROSS JOIN events",
    "first.word = ?9 AND events.id = first.event_id
     AND (?10 IS NULL OR EXISTS (SELECT 1 FROM event_words other
            WHERE other.word = ?10 AND other.event_id = first.event_id))
     AND (?11 IS NULL OR EXISTS (SELECT 1 FROM event_words other
            WHERE other.word = ?11 AND other.event_id = first.event_id))"
);

/// The statements that find the events of a search. Of the words, the three longest count.
pub(super) fn queries(search: Option<&EventSearch>) -> Vec<EventQuery<'_>> {
    let (id, text) = (Value::Null(Kind::Id), Value::Null(Kind::Text));
    let query = |select, params| EventQuery { select, params };
    match search {
        None => vec![query(ALL, [id, id, text])],
        Some(EventSearch::Id(wanted)) => {
            let wanted = Value::Id(*wanted);
            vec![query(OF_ID, [wanted, id, text]), query(OF_DEFECT, [wanted, id, text])]
        }
        Some(EventSearch::FailedTest { execution, case }) => {
            vec![query(OF_DEFECT, [Value::Id(*case), Value::Id(*execution), text])]
        }
        Some(EventSearch::Text { key, words }) => {
            let of_key = query(OF_KEY, [Value::Text(key), text, text]);
            let mut words = words.iter().map(|word| Value::Text(word));
            let of_words = words.next().map(|first| {
                let mut next = || words.next().unwrap_or(text);
                query(OF_WORDS, [first, next(), next()])
            });
            std::iter::once(of_key).chain(of_words).collect()
        }
    }
}

/// The estimated size of the rows of these words, bytes.
pub(super) fn size(words: &BTreeSet<String>) -> usize {
    words.iter().map(|word| WORD_BYTES + 2 * word.len()).sum()
}

/// Stores the words of the errors of events, instead of those of their earlier errors. An event
/// without an error keeps its words.
pub(super) fn store_words<'w>(
    db: &dyn Database,
    events: impl Iterator<Item = (Uuid, &'w BTreeSet<String>)>,
) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    let mut rows = Vec::new();
    for (id, words) in events.filter(|(_, words)| !words.is_empty()) {
        changed.push(id.simple().to_string());
        rows.extend(words.iter().map(|word| vec![Value::Text(word), Value::Id(id)]));
    }
    if changed.is_empty() {
        return Ok(());
    }
    db.change(
        "DELETE FROM event_words WHERE event_id IN (SELECT unhex(value) FROM json_each(?))",
        params![to_json(&changed)?],
    )?;
    db.change_rows("INSERT INTO event_words (word, event_id) VALUES (?, ?)", &rows)?;
    Ok(())
}
