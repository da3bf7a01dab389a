//! The form of inputs that are a request: a line with method and address, lines with headers, an empty
//! line, the body. A seed is a text that a person can read.
//!
//! Never refuses more than it must: `\n` and `\r` written out stand for the characters themselves, so
//! that a fuzzer can put them where no line could hold them.

/// A request as an input spells it.
pub struct Message<'a> {
    /// The first word of the first line.
    pub method: &'a str,
    /// The rest of the first line.
    pub address: String,
    /// Names and values, in their order.
    pub headers: Vec<(String, String)>,
    /// Everything behind the first empty line.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes an input apart; `None` where its head is no text.
    #[must_use]
    pub fn read(input: &'a [u8]) -> Option<Self> {
        let end = input.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = match end {
            Some(end) => (&input[..end], &input[end + 2..]),
            None => (input, &[][..]),
        };
        let mut lines = std::str::from_utf8(head).ok()?.split('\n');
        let (method, address) = lines.next()?.split_once(' ')?;
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((unfolded(name), unfolded(value)))
        };
        let headers = lines.filter_map(header).collect();
        Some(Self { method, address: unfolded(address), headers, body })
    }

    /// Takes a header out; for what a target wants to be told beside the request.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.headers.iter().position(|(given, _)| given == name)?;
        Some(self.headers.remove(at).1)
    }
}

fn unfolded(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\r", "\r")
}
