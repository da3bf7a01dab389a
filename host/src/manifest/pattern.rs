//! Compiles the patterns of a settings schema for the regex crate, which searches in linear time and
//! with limited memory. This module never accepts look-around and back-references.

use regex::{Regex, RegexBuilder};

use super::schema_error::SchemaError;

/// Maximum memory of one compiled pattern, and of its cache of transitions, bytes each.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// What the next `-` in a pattern means.
#[derive(Clone, Copy, PartialEq)]
enum Hyphen {
    /// A character, because it is not in a character class.
    OutsideClass,
    /// A character, because no character is before it that can begin a range.
    Character,
    /// The sign between the first and the last character of a range.
    Range,
    /// The last character of a range.
    EndOfRange,
}

/// Compiles a pattern in the dialect ECMA-262, which is the dialect of JSON Schema.
pub(super) fn compile_pattern(pattern: &str) -> Result<Regex, SchemaError> {
    let regex = RegexBuilder::new(&rewrite_ecma_pattern(pattern))
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build();
    regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(max) => {
            SchemaError::new(format!("is too large: compiled, it needs more than {max} bytes"))
        }
        _ => SchemaError::new(
            "is not a valid regular expression; look-around and back-references are not supported",
        ),
    })
}

/// Rewrites the parts of a pattern that often mean something else in the dialect of the regex
/// crate. In ECMA-262, `\d` and `\w` match only ASCII. In a character class, `[`, `&` and `~` are
/// plain characters, and so is a `-` that is not between two characters.
fn rewrite_ecma_pattern(pattern: &str) -> String {
    let mut rewritten = String::with_capacity(pattern.len());
    let mut characters = pattern.chars().peekable();
    let mut hyphen = Hyphen::OutsideClass;
    while let Some(character) = characters.next() {
        let ends_class = characters.peek() == Some(&']');
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
            '-' if hyphen == Hyphen::Range && !ends_class => {
                rewritten.push('-');
                hyphen = Hyphen::EndOfRange;
                continue;
            }
            '\\' => {
                let escaped = characters.next();
                if let Some(set) = escaped.and_then(ecma_set) {
                    rewritten.push_str(set);
                    if hyphen != Hyphen::OutsideClass {
                        hyphen = Hyphen::Character;
                    }
                    continue;
                }
                rewritten.push('\\');
                rewritten.extend(escaped);
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
            Hyphen::Character | Hyphen::Range => Hyphen::Range,
        };
    }
    rewritten
}

/// Returns the set of characters that a letter after `\` names in ECMA-262.
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
