//! The format of inputs that are a request: a line with method and address, lines with headers, an
//! empty line, the body. A person can read an input of the corpus and write a new one.
//!
//! The parser accepts as much as possible. The text `\n` or `\r` in a line means the character
//! itself, so that a fuzzer can put these characters into an address or a header.

/// A request as an input describes it.
pub struct Message<'a> {
    /// The first word of the first line.
    pub method: &'a str,
    /// The rest of the first line.
    pub address: String,
    /// Names and values, in their order.
    pub headers: Vec<(String, String)>,
    /// Everything after the first empty line.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads an input; `None` if its head is not text.
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
            Some((unescape(name), unescape(value)))
        };
        let headers = lines.filter_map(header).collect();
        Some(Self { method, address: unescape(address), headers, body })
    }

    /// Removes a header and returns its value. Such a header is a parameter of the fuzz target, not
    /// a part of the request.
    pub fn remove_header(&mut self, name: &str) -> Option<String> {
        let position = self.headers.iter().position(|(given, _)| given == name)?;
        Some(self.headers.remove(position).1)
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\r", "\r")
}
