//! The format of a recording: one JSON text for each exchange. In a folder, the files are
//! `0001.json` and so on; people read and edit them.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use data_encoding::{BASE64, DecodeError};
use serde::{Deserialize, Serialize};

use crate::domain::StringEnum as _;
use crate::secret::write_private;

use super::{HttpError, NoAnswer, TapedAnswer, TapedEnd, TapedRequest};

/// Maximum number of exchanges in a recording.
pub(super) const EXCHANGES_MAX: usize = 1_000;
/// The file that says what was recorded, in a folder of `jackfield fixture`.
const CALL_FILE: &str = "call.json";
/// Files beside the exchanges that say how an export was called.
const BESIDE: [&str; 5] =
    [CALL_FILE, "event.json", "report.json", "settings.json", "test-data.json"];
/// Largest recording, bytes of its files.
const RECORDING_BYTES_MAX: u64 = 512 << 20;

/// Why a folder cannot be used for a recording.
#[derive(Debug, thiserror::Error)]
pub enum NotUsable {
    /// It cannot be read or written.
    #[error("cannot use {}: {source}", .path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A recording begins in an empty folder.
    #[error(
        "{} has recorded exchanges already: delete them or give another folder", .0.display()
    )]
    NotEmpty(PathBuf),
    /// There is nothing to answer from.
    #[error(
        "{} has no recorded exchange (a file that ends in .json): record one with --record, or \
         give the folder of one call, such as recording/check",
        .0.display()
    )]
    Empty(PathBuf),
    /// A file is not a recorded exchange.
    #[error("{} is not a recorded exchange: {source}", .path.display())]
    NotAnExchange {
        /// The file.
        path: PathBuf,
        /// Why.
        source: InvalidExchange,
    },
    /// The recording is too large.
    #[error(
        "{} has more than {EXCHANGES_MAX} exchanges or {RECORDING_BYTES_MAX} bytes", .0.display()
    )]
    TooLarge(PathBuf),
}

/// Why a text is not a recorded exchange.
#[derive(Debug, thiserror::Error)]
pub enum InvalidExchange {
    /// It is not JSON, or has other members.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It has both ends of an exchange, or none.
    #[error("give `response` or `error`, one of them")]
    ResponseOrError,
    /// The error is not one that a guest can get.
    #[error("`error.case` = {0:?} is not a case of `http-error`")]
    UnknownCase(String),
    /// The status is not that of an answer.
    #[error("`status` = {0}: give 200 to 999")]
    Status(u16),
    /// The body is written twice.
    #[error("give `body` or `body_base64`, not both")]
    TwoBodies,
    /// The body cannot be decoded.
    #[error("`body_base64` is not base64: {0}")]
    Base64(#[from] DecodeError),
}

/// One file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExchangeFile {
    request: RequestPart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<ResponsePart>,
    /// The reason why there is no response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorPart>,
}

/// A case of `http-error`, without its payload in `case`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorPart {
    case: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestPart {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponsePart {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Creates the folder, if it is missing, for its owner only.
pub(super) fn create(folder: &Path) -> Result<(), NotUsable> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.map_err(|source| NotUsable::Disk { path: folder.to_owned(), source })?;
    if files(folder)?.is_empty() { Ok(()) } else { Err(NotUsable::NotEmpty(folder.to_owned())) }
}

/// Writes an exchange as the file with this number.
pub(super) fn write(folder: &Path, number: usize, text: &str) -> Result<(), NotUsable> {
    if number > EXCHANGES_MAX {
        return Err(NotUsable::TooLarge(folder.to_owned()));
    }
    let path = folder.join(format!("{number:04}.json"));
    let pretty = |text| serde_json::to_string_pretty(&serde_json::from_str::<ExchangeFile>(text)?);
    let json = pretty(text)
        .map_err(|error| NotUsable::NotAnExchange { path: path.clone(), source: error.into() })?;
    let written = write_private(&path, format!("{json}\n").as_bytes());
    written.map_err(|source| NotUsable::Disk { path: path.clone(), source })
}

/// Writes exchanges, each a text in the format of a tape, as the recording of a new folder.
///
/// # Errors
/// The folder cannot be used, or it has a recording already, or a text is not an exchange.
pub fn write_recording(folder: &Path, exchanges: &[String]) -> Result<(), NotUsable> {
    create(folder)?;
    let mut numbered = exchanges.iter().zip(1..);
    numbered.try_for_each(|(text, number)| write(folder, number, text))
}

/// The text of an exchange.
pub(super) fn text_of(request: TapedRequest, end: TapedEnd) -> String {
    let (body, body_base64) = body_members(&request.body);
    let TapedRequest { method, url, headers, .. } = request;
    let request = RequestPart { method, url, headers, body, body_base64 };
    let (response, error) = match end {
        TapedEnd::Answer(TapedAnswer { status, headers, body }) => {
            let (body, body_base64) = body_members(&body);
            (Some(ResponsePart { status, headers, body, body_base64 }), None)
        }
        TapedEnd::Failure(error) => {
            let (case, text) = error.into_parts();
            (None, Some(ErrorPart { case: case.as_str().to_owned(), text }))
        }
    };
    // It has only texts, numbers and lists, which can always be written.
    serde_json::to_string(&ExchangeFile { request, response, error }).unwrap_or_default()
}

/// Reads all exchanges in the order of their files, each with the name of its file.
pub(super) fn read(folder: &Path) -> Result<Vec<(String, TapedRequest, TapedEnd)>, NotUsable> {
    let files = files(folder)?;
    // A recorded call that sent nothing has no exchange.
    if files.is_empty() && !folder.join(CALL_FILE).exists() {
        return Err(NotUsable::Empty(folder.to_owned()));
    }
    let mut room = RECORDING_BYTES_MAX;
    let mut exchanges = Vec::new();
    for path in files {
        let disk = |source| NotUsable::Disk { path: path.clone(), source };
        let bytes = fs::metadata(&path).map_err(disk)?.len();
        let Some(left) = room.checked_sub(bytes) else {
            return Err(NotUsable::TooLarge(folder.to_owned()));
        };
        room = left;
        let text = fs::read_to_string(&path).map_err(disk)?;
        let (request, answer) = parse_exchange(&text)
            .map_err(|source| NotUsable::NotAnExchange { path: path.clone(), source })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        exchanges.push((name, request, answer));
    }
    Ok(exchanges)
}

/// The files of a recording, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>, NotUsable> {
    let disk = |source| NotUsable::Disk { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk)? {
        let path = entry.map_err(disk)?.path();
        let is_beside = path.file_name().is_some_and(|name| BESIDE.iter().any(|it| name == *it));
        if !is_beside && path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
        if files.len() > EXCHANGES_MAX {
            return Err(NotUsable::TooLarge(folder.to_owned()));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the text of an exchange.
pub(super) fn parse_exchange(text: &str) -> Result<(TapedRequest, TapedEnd), InvalidExchange> {
    let ExchangeFile { request, response, error } = serde_json::from_str(text)?;
    let body = body_of(request.body, request.body_base64)?;
    let RequestPart { method, url, headers, .. } = request;
    let request = TapedRequest { method, url, headers, body };
    match (response, error) {
        (Some(response), None) => Ok((request, TapedEnd::Answer(answer(response)?))),
        (None, Some(ErrorPart { case, text })) => match NoAnswer::parse(&case) {
            Some(case) => Ok((request, TapedEnd::Failure(HttpError::of(case, text)))),
            None => Err(InvalidExchange::UnknownCase(case)),
        },
        _ => Err(InvalidExchange::ResponseOrError),
    }
}

fn answer(response: ResponsePart) -> Result<TapedAnswer, InvalidExchange> {
    if !(200..=999).contains(&response.status) {
        return Err(InvalidExchange::Status(response.status));
    }
    let body = body_of(response.body, response.body_base64)?;
    let ResponsePart { status, headers, .. } = response;
    Ok(TapedAnswer { status, headers, body })
}

/// The members for a body: as text, or in base64 if it is not UTF-8. An empty body has none.
fn body_members(body: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(body) {
        Ok("") => (None, None),
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(body))),
    }
}

fn body_of(text: Option<String>, base64: Option<String>) -> Result<Bytes, InvalidExchange> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(InvalidExchange::TwoBodies),
        (Some(text), None) => Ok(text.into()),
        (None, Some(text)) => Ok(BASE64.decode(text.as_bytes())?.into()),
        (None, None) => Ok(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        create(&folder).unwrap();
        let request = |body: &'static [u8]| TapedRequest {
            method: "POST".to_owned(),
            url: "https://t.example/a?b=c".to_owned(),
            headers: vec![("accept".to_owned(), "text/plain".to_owned())],
            body: Bytes::from_static(body),
        };
        let answer = |body: &'static [u8]| {
            let body = Bytes::from_static(body);
            TapedEnd::Answer(TapedAnswer { status: 201, headers: Vec::new(), body })
        };
        let failure = || TapedEnd::Failure(HttpError::Interrupted("reset".to_owned()));
        write(&folder, 2, &text_of(request(b"\xff\0"), answer(b""))).unwrap();
        write(&folder, 1, &text_of(request(b"text"), answer(b"\xfe"))).unwrap();
        write(&folder, 3, &text_of(request(b""), failure())).unwrap();
        fs::write(folder.join("settings.json"), "{}").unwrap();
        let read = read(&folder).unwrap();
        assert_eq!(read[0], ("0001.json".to_owned(), request(b"text"), answer(b"\xfe")));
        assert_eq!(read[1], ("0002.json".to_owned(), request(b"\xff\0"), answer(b"")));
        assert_eq!(read[2], ("0003.json".to_owned(), request(b""), failure()));
        assert_eq!(read.len(), 3);
        assert!(matches!(create(&folder), Err(NotUsable::NotEmpty(_))));
        let text = text_of(request(b""), failure());
        assert!(write(&folder, EXCHANGES_MAX + 1, &text).is_err());
    }

    #[test]
    fn a_file_that_is_not_an_exchange_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(NotUsable::Empty(_))));
        assert!(matches!(read(&folder.path().join("no")), Err(NotUsable::Disk { .. })));
        for (text, why) in [
            ("{", "EOF"),
            ("{\"request\":{\"method\":\"GET\",\"url\":\"/\",\"boby\":\"\"}}", "boby"),
            (
                "{\"request\":{\"method\":\"GET\",\"url\":\"/\"},\"response\":{\"status\":7}}",
                "`status` = 7",
            ),
            ("{\"request\":{\"method\":\"GET\",\"url\":\"/\"}}", "`response` or `error`"),
            (
                "{\"request\":{\"method\":\"GET\",\"url\":\"/\",\"body_base64\":\"%\"},
                  \"response\":{\"status\":200}}",
                "base64",
            ),
        ] {
            fs::write(folder.path().join("7.json"), text).unwrap();
            let error = read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("7.json") && error.contains(why), "{error}");
        }
    }
}
