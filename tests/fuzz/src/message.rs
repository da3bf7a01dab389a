//! The format of inputs that describe a request. The first line contains the method and the
//! address. The next lines contain the headers. An empty line and the body follow.
//!
//! In an address or a header, the two characters `\n` mean a line break, and `\r` mean a carriage
//! return.

/// A request as an input describes it.
pub struct InputRequest<'a> {
    /// The method: the first word of the first line.
    pub method: &'a str,
    /// The address: the rest of the first line.
    pub address: String,
    /// The names and values of the headers, in the order of the lines.
    pub headers: Vec<(String, String)>,
    /// The body: everything after the first empty line.
    pub body: &'a [u8],
}

impl<'a> InputRequest<'a> {
    /// Parses an input. Returns `None` if the input has no method and address, or if the lines
    /// before the body are not UTF-8.
    #[must_use]
    pub fn parse(input: &'a [u8]) -> Option<Self> {
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

    /// Removes a header and returns its value. A target calls this for a header that is a parameter
    /// of the target, and not a part of the request.
    pub fn remove_header(&mut self, name: &str) -> Option<String> {
        let position = self.headers.iter().position(|(header, _)| header == name)?;
        Some(self.headers.remove(position).1)
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\r", "\r")
}
