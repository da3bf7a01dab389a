//! Reads and writes the part of HTTP/1.1 that a scripted server needs. The module uses a raw socket
//! instead of an HTTP library, so that a test can end an answer after any byte.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// The headers that describe one TCP connection or the length of a body. A forwarded request and a
/// parsed answer do not keep them.
const FRAMING_HEADERS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// A request as it was received.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The method, as received.
    pub method: String,
    /// The path with the query.
    pub target: String,
    /// The headers as received: in their order, with the case of their names.
    pub headers: Vec<(String, String)>,
    /// The complete body, without chunk framing.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the value of the first header with this name. The case of letters does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// Returns whether the method is POST.
    #[must_use]
    pub fn is_post(&self) -> bool {
        self.method == "POST"
    }

    /// Returns the body as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the next request. Returns `None` at the end of the TCP connection.
    pub(crate) fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Self>> {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(Error::new(ErrorKind::InvalidData, line));
        };
        let mut request = Self { method, target, ..Self::default() };
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            request.headers.push((name.to_owned(), value.trim().to_owned()));
        }
        request.body = request.read_body(stream)?;
        Ok(Some(request))
    }

    /// Reads the body. Without `content-length` and `transfer-encoding`, the body is empty.
    fn read_body(&self, stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = self.header("content-length").and_then(|text| text.parse().ok()) {
            body.resize(length, 0);
            stream.read_exact(&mut body)?;
            return Ok(body);
        }
        if self.header("transfer-encoding").is_none() {
            return Ok(body);
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let length = u64::from_str_radix(line.trim(), 16)
                .map_err(|_| Error::new(ErrorKind::InvalidData, line))?;
            stream.by_ref().take(length).read_to_end(&mut body)?;
            stream.read_line(&mut String::new())?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    /// Sends the request to another server and returns the bytes of its answer.
    pub(crate) fn forward(&self, address: &str) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            if !FRAMING_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += &format!("connection: close\r\ncontent-length: {}\r\n\r\n", self.body.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(&self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers without `content-length`, which [`Self::bytes`] adds.
    pub headers: Vec<(String, String)>,
    /// The bytes of the body.
    pub body: Vec<u8>,
}

impl Response {
    /// Parses an answer. All bytes after its head are its body.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
        let mut lines = head.lines();
        let status = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let is_kept = |(name, _): &(String, String)| {
            !FRAMING_HEADERS.contains(&name.to_ascii_lowercase().as_str())
        };
        let headers = headers.filter(is_kept).collect();
        Some(Self { status, headers, body: bytes.get(end + 4..)?.to_vec() })
    }

    /// Creates an answer with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: &str) -> Self {
        Self::new(status, body).with_header("content-type", "application/json")
    }

    /// Creates an answer without headers.
    #[must_use]
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self { status, headers: Vec::new(), body: body.as_ref().to_vec() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the bytes to send.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", self.body.len());
        [head.as_bytes(), &self.body].concat()
    }
}
