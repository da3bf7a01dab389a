//! Finds sentences of the manual for connectors: the comments in the copy of `wit/connector.wit`
//! that is built into the program.

const MANUAL_TEXT: &str = include_str!("../../../wit/connector.wit");

/// A sentence of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManualSentence {
    /// The line of `wit/connector.wit` at which the sentence begins; 0 if the manual does not
    /// contain the sentence.
    pub line: usize,
    /// The sentence.
    pub sentence: &'static str,
}

impl ManualSentence {
    /// Finds a sentence in the manual.
    pub(super) fn quote(sentence: &'static str) -> Self {
        Self { line: line_of_sentence(MANUAL_TEXT, sentence).unwrap_or(0), sentence }
    }
}

/// Returns the number of the line at which a sentence begins; the first line is 1. The sentence may
/// continue on the next lines.
fn line_of_sentence(wit: &str, sentence: &str) -> Option<usize> {
    let (mut text, mut line_starts) = (String::new(), Vec::new());
    for line in wit.lines() {
        line_starts.push(text.len());
        text.push_str(line.trim_start().trim_start_matches("///").trim());
        text.push(' ');
    }
    let position = text.find(sentence)?;
    Some(line_starts.partition_point(|start| *start <= position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_may_continue_on_the_next_line() {
        let wit = "package a;\n  /// One. Two\n  /// words. Three.\n  four";
        for (sentence, line) in
            [("One.", Some(2)), ("Two words.", Some(2)), ("Three.", Some(3)), ("Five", None)]
        {
            assert_eq!(line_of_sentence(wit, sentence), line, "{sentence}");
        }
    }
}
