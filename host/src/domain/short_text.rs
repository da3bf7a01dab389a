//! Shortens texts from outside, which may have any length.

/// Returns the text. If it is longer than `bytes_max`, returns its first part, followed by its
/// original length.
#[must_use]
pub fn shortened(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let start = text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default();
    format!("{start}… ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_marked() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("aéé", 2), "a… (5 bytes)");
        assert_eq!(shortened("é", 0), "… (2 bytes)");
    }
}
