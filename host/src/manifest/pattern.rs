//! Compiles the patterns of a settings schema with the regex crate, which searches in linear time.
//! It has no look-around and no back-references, so a pattern with them is refused.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

use super::schema_error::SchemaError;

/// Maximum memory of one compiled pattern, and of its cache of transitions, bytes each.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// A pattern in the dialect ECMA-262, which is the dialect of JSON Schema.
#[derive(Debug)]
pub(super) struct Pattern {
    /// The pattern as its author wrote it.
    text: String,
    regex: Regex,
}

impl Pattern {
    pub(super) fn compile(text: &str) -> Result<Self, SchemaError> {
        let regex = RegexBuilder::new(&rewrite_ecma_pattern(text))
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build();
        let regex = regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(max) => {
                SchemaError::new(format!("is too large: compiled, it needs more than {max} bytes"))
            }
            _ => SchemaError::new(
                "is not a valid regular expression; look-around and back-references are not supported",
            ),
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Whether the pattern matches anywhere in a text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a `-` at the next place of a pattern means.
#[derive(Clone, Copy, PartialEq)]
enum Hyphen {
    /// A character outside a character class.
    OutsideClass,
    /// A character, because no element that can begin a range is before it.
    Character,
    /// The sign between the first and the last character of a range, unless the class ends or a set
    /// follows.
    Range,
    /// A character. The element before it is a set, which begins no range.
    AfterSet,
    /// A character: the last one of a range, or the one after a `-` that is itself a character.
    EndOfRange,
}

/// Rewrites common parts of a pattern that have another meaning in the dialect of the regex crate.
/// In ECMA-262, `\d` and `\w` match only ASCII. In a character class, `[`, `&` and `~` are plain
/// characters, and so is a `-` that is not the sign of a range.
fn rewrite_ecma_pattern(pattern: &str) -> String {
    let mut rewritten = String::with_capacity(pattern.len());
    let mut characters = pattern.chars().peekable();
    let mut hyphen = Hyphen::OutsideClass;
    while let Some(character) = characters.next() {
        match character {
            '[' if hyphen == Hyphen::OutsideClass => {
                rewritten.push('[');
                rewritten.extend(characters.next_if_eq(&'^'));
                hyphen = Hyphen::Character;
                continue;
            }
            ']' => {
                rewritten.push(']');
                hyphen = Hyphen::OutsideClass;
                continue;
            }
            '-' if matches!(hyphen, Hyphen::Range | Hyphen::AfterSet)
                && characters.peek() != Some(&']') =>
            {
                let is_range = hyphen == Hyphen::Range && !is_set(&characters);
                rewritten.push_str(if is_range { "-" } else { r"\-" });
                hyphen = Hyphen::EndOfRange;
                continue;
            }
            '\\' => {
                let escaped = characters.next();
                if let Some(set) = escaped.and_then(ecma_set) {
                    rewritten.push_str(set);
                    hyphen = match hyphen {
                        Hyphen::OutsideClass => Hyphen::OutsideClass,
                        Hyphen::EndOfRange => Hyphen::Character,
                        Hyphen::Character | Hyphen::Range | Hyphen::AfterSet => Hyphen::AfterSet,
                    };
                    continue;
                }
                rewritten.push('\\');
                rewritten.extend(escaped);
                push_rest_of_escape(escaped, &mut characters, &mut rewritten);
            }
            '[' | '&' | '~' | '-' if hyphen != Hyphen::OutsideClass => {
                rewritten.push('\\');
                rewritten.push(character);
            }
            _ => rewritten.push(character),
        }
        hyphen = match hyphen {
            Hyphen::OutsideClass => Hyphen::OutsideClass,
            Hyphen::EndOfRange => Hyphen::Character,
            Hyphen::Character | Hyphen::Range | Hyphen::AfterSet => Hyphen::Range,
        };
    }
    rewritten
}

/// Returns the set of characters that `\` and this letter match in ECMA-262, if there is one.
fn ecma_set(letter: char) -> Option<&'static str> {
    match letter {
        'd' => Some("[0-9]"),
        'D' => Some("[^0-9]"),
        'w' => Some("[0-9A-Za-z_]"),
        'W' => Some("[^0-9A-Za-z_]"),
        's' => Some(r"\s"),
        'S' => Some(r"\S"),
        _ => None,
    }
}

fn is_set(characters: &Peekable<Chars<'_>>) -> bool {
    let mut next = characters.clone();
    next.next() == Some('\\') && next.next().and_then(ecma_set).is_some()
}

/// Copies the digits after `\x` and `\u`, or the braces after `\u`, `\p` and `\P` with their
/// content.
fn push_rest_of_escape(
    letter: Option<char>,
    characters: &mut Peekable<Chars<'_>>,
    rewritten: &mut String,
) {
    if matches!(letter, Some('u' | 'p' | 'P')) && characters.peek() == Some(&'{') {
        while let Some(character) = characters.next_if(|it| *it != '}') {
            rewritten.push(character);
        }
        rewritten.extend(characters.next());
        return;
    }
    let digits = match letter {
        Some('x') => 2,
        Some('u') => 4,
        _ => 0,
    };
    for _ in 0..digits {
        rewritten.extend(characters.next_if(char::is_ascii_hexdigit));
    }
}
