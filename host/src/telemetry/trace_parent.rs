//! The header `traceparent` (W3C Trace Context). This module never sends the header.

use std::fmt;

use uuid::Uuid;

/// The trace to which a request belongs, and the span that sent the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The id of the trace.
    pub trace: u128,
    /// The id of the span that sent the request.
    pub span: u64,
    /// Whether the sender records this trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// The name of the header.
    pub const HEADER: &str = "traceparent";

    /// Reads the value of the header. The standard requires that a value that is not valid is
    /// treated as absent.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.trim().split('-');
        let mut field = |digits| parse_hex(fields.next()?, digits);
        let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        // Later versions of the header may have more fields.
        if version == 0xff || version == 0 && fields.next().is_some() || trace == 0 || span == 0 {
            return None;
        }
        Some(Self { trace, span: u64::try_from(span).ok()?, is_sampled: flags & 1 == 1 })
    }

    /// Returns a new span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span: fresh_span_id(), ..*self }
    }
}

/// The id is never zero, because the variant bits of a UUID are not zero.
pub(super) fn fresh_span_id() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, is_sampled } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(*is_sampled))
    }
}

/// The number must have exactly `digits` lower-case hexadecimal digits.
fn parse_hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_valid = text.len() == digits && text.bytes().all(is_digit);
    is_valid.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_headers_are_read() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceParent::parse(text).unwrap();
        assert_eq!(parent.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parent.span, parent.is_sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(parent.to_string(), text);
        assert!(!TraceParent::parse(&text.replace("-01", "-00")).unwrap().is_sampled);
        let later = format!("{}-more", text.replace("00-4", "01-4"));
        assert!(TraceParent::parse(&later).is_some(), "{later}");
        for wrong in [
            String::new(),
            format!("{text}-more"),
            text.replace("00-4", "ff-4"),
            text.to_ascii_uppercase(),
            text.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            text.replace("00f067aa0ba902b7", &"0".repeat(16)),
            text.replace("4bf9", "4bf"),
            text.replace("4bf9", "+bf9"),
            "é".repeat(60),
        ] {
            assert_eq!(TraceParent::parse(&wrong), None, "{wrong}");
        }
    }
}
