//! The manual: the comments in `wit/connector.wit`, in which sentences are looked up.

/// The manual as it was when this program was built.
const WIT: &str = include_str!("../../../wit/connector.wit");

/// A sentence of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManualSentence {
    /// The line of `wit/connector.wit` at which the sentence begins; 0 if the manual lacks it.
    pub line: usize,
    /// The sentence.
    pub sentence: &'static str,
}

impl ManualSentence {
    pub(super) fn quote(sentence: &'static str) -> Self {
        Self { line: line_of(WIT, sentence).unwrap_or(0), sentence }
    }
}

/// The line, from 1, at which a sentence begins that may continue on the next lines.
fn line_of(wit: &str, sentence: &str) -> Option<usize> {
    let (mut text, mut begins) = (String::new(), Vec::new());
    for line in wit.lines() {
        begins.push(text.len());
        text.push_str(line.trim_start().trim_start_matches("///").trim());
        text.push(' ');
    }
    let at = text.find(sentence)?;
    Some(begins.partition_point(|begin| *begin <= at))
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
            assert_eq!(line_of(wit, sentence), line, "{sentence}");
        }
    }
}
