//! Shortens untrusted texts, which may be very long.

/// Returns the text unchanged if it has at most `bytes_max` bytes. Otherwise returns the beginning
/// of the text, followed by the length of the whole text.
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
    fn a_long_text_is_cut_at_a_character_boundary_and_its_length_is_added() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("aéé", 2), "a… (5 bytes)");
        assert_eq!(shortened("é", 0), "… (2 bytes)");
    }
}
