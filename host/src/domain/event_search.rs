//! Parses the text that a person types to find events: an id, the link of a failed test, the key of
//! a defect, or words of an error.
//!
//! This file never searches events.

use std::collections::BTreeSet;

use uuid::Uuid;

/// Minimum length of a word that can be found, characters.
const WORD_CHARS_MIN: usize = 3;
/// Maximum length of the indexed part of a word, characters. If a word is longer, only its
/// beginning is indexed and compared.
const WORD_CHARS_MAX: usize = 40;
/// Maximum number of indexed words of one error. Without a limit, long errors would fill the disk.
const WORDS_MAX: usize = 24;

/// The search condition for a list of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventSearch {
    /// The id of the event, of its defect or of its test case.
    Id(Uuid),
    /// A failed test. Its link in Test Manager contains these two ids.
    FailedTest {
        /// The id of the test execution.
        execution: Uuid,
        /// The id of the test case.
        case: Uuid,
    },
    /// The key of the defect in the tracker, or words of the error.
    Text {
        /// The whole text, which is compared with the keys of defects.
        key: String,
        /// The words of the text, the longest first; empty if no word is long enough.
        words: Vec<String>,
    },
}

impl EventSearch {
    /// Parses a text that a person typed or pasted. If the text contains ids, as a link does, only
    /// its first two ids are used.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        let parts = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        let mut ids = parts.filter(|part| part.len() >= 32).filter_map(|part| part.parse().ok());
        match (ids.next(), ids.next()) {
            (Some(execution), Some(case)) => Self::FailedTest { execution, case },
            (Some(id), None) => Self::Id(id),
            _ => {
                let mut words: Vec<_> = searchable_words(text).into_iter().collect();
                words.sort_by_key(|word| std::cmp::Reverse(word.len()));
                Self::Text { key: text.to_owned(), words }
            }
        }
    }
}

/// Returns the words by which a text can be found, in lower case, up to the maximum number.
#[must_use]
pub fn searchable_words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| word.chars().nth(WORD_CHARS_MIN - 1).is_some());
    let mut searchable = BTreeSet::new();
    for word in words {
        searchable.insert(word.to_lowercase().chars().take(WORD_CHARS_MAX).collect());
        if searchable.len() == WORDS_MAX {
            break;
        }
    }
    searchable
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXECUTION: &str = "0b8df3f5-2b2c-4b4e-9f4a-0123456789ab";
    const CASE: &str = "1c8df3f5-2b2c-4b4e-9f4a-0123456789ab";

    #[test]
    fn ids_are_found_in_links() {
        let (execution, case) = (EXECUTION.parse().unwrap(), CASE.parse().unwrap());
        assert_eq!(EventSearch::new(&format!(" {CASE}\n")), EventSearch::Id(case));
        let link = format!(
            "https://tm.example/o/t/testmanager_/T/testexecution-results/{EXECUTION}/{CASE}?tab=1"
        );
        assert_eq!(EventSearch::new(&link), EventSearch::FailedTest { execution, case });
    }

    #[test]
    fn a_text_without_ids_is_searched_for_as_a_key_and_as_words() {
        let words = vec!["tracker".to_owned(), "qa17".to_owned()];
        let key = "Tracker: QA17 is".to_owned();
        assert_eq!(EventSearch::new("Tracker: QA17 is"), EventSearch::Text { key, words });
        assert_eq!(EventSearch::new("7"), EventSearch::Text { key: "7".to_owned(), words: vec![] });
    }

    #[test]
    fn a_long_text_has_a_limited_number_of_words_of_limited_length() {
        let long = "é".repeat(99);
        assert_eq!(searchable_words(&long).pop_first().unwrap().chars().count(), WORD_CHARS_MAX);
        let many: String = (100..999).map(|n| format!("{n} ")).collect();
        assert_eq!(searchable_words(&many).len(), WORDS_MAX);
    }
}
