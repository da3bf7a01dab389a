//! Writes and reads the HTTP/2 frames that a test client needs to send a click and to read its
//! answer.

use std::io::{Read, Result};

// The types of frames.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
/// The flag that makes a SETTINGS or PING frame an acknowledgement.
pub(super) const ACK: u8 = 1;
/// The flag of the last DATA or HEADERS frame of a request or an answer.
pub(super) const END_STREAM: u8 = 1;
/// The flag of a HEADERS frame that contains all headers.
const END_HEADERS: u8 = 4;
/// The first byte of the payload of a HEADERS frame that begins with `:status: 200`.
pub(super) const STATUS_200: u8 = 0x88;
/// The number that the first GOAWAY frame names as the last stream, because the server does not
/// know the last stream yet.
pub(super) const ANY_STREAM: u32 = 0x7fff_ffff;

pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn read(from: &mut impl Read) -> Result<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        from.read_exact(&mut payload)?;
        Ok(Self { kind: head[3], flags: head[4], payload })
    }
}

pub(super) fn encode_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head, &stream.to_be_bytes()[..], payload].concat()
}

/// Returns the bytes that a client sends first.
pub(super) fn client_preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &encode_frame(SETTINGS, 0, 0, b"")[..]].concat()
}

pub(super) fn post_request(stream: u32, path: &str, body: &str) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/json"),
    ] {
        // The code 0 begins a header that is not indexed. The name and the value follow.
        head.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "{text} needs a longer length");
            head.push(u8::try_from(text.len()).expect("a short text"));
            head.extend(text.as_bytes());
        }
    }
    let head = encode_frame(HEADERS, END_HEADERS, stream, &head);
    [head, encode_frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}
