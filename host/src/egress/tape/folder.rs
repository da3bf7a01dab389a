//! Reads and writes the files of a recording: one JSON text for each exchange. People read and edit
//! these files. Never redacts a text.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use data_encoding::{BASE64, DecodeError};
use serde::{Deserialize, Serialize};

use crate::domain::StringEnum as _;
use crate::secret::write_private;

use super::{HttpError, NoAnswer, TapedAnswer, TapedOutcome, TapedRequest};

/// Maximum number of exchanges in a recording.
pub(super) const EXCHANGES_MAX: usize = 1_000;
/// The file in a folder of `jackfield fixture` that describes the recorded call into the connector.
const CALL_FILE: &str = "call.json";
/// The names of those JSON files in the folder of a recording that are not exchanges.
const CALL_FILES: [&str; 5] =
    [CALL_FILE, "event.json", "report.json", "settings.json", "test-data.json"];
/// Maximum size of all exchanges of a recording together when they are read from files, bytes.
const RECORDING_BYTES_MAX: u64 = 512 << 20;

/// The reason why a folder cannot be used for a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file or the folder cannot be read or written.
    #[error("cannot use {}: {source}", .path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The folder already has recorded exchanges.
    #[error(
        "{} has recorded exchanges already: delete them or give another folder", .0.display()
    )]
    NotEmpty(PathBuf),
    /// The folder has neither a recorded exchange nor a file `call.json`.
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
        /// The reason.
        source: InvalidExchange,
    },
    /// The recording has too many exchanges or is too large.
    #[error(
        "{} has more than {EXCHANGES_MAX} exchanges or {RECORDING_BYTES_MAX} bytes", .0.display()
    )]
    TooLarge(PathBuf),
}

/// The reason why a text is not a recorded exchange.
#[derive(Debug, thiserror::Error)]
pub enum InvalidExchange {
    /// The text is not JSON with the members of an exchange.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The text has both a response and an error, or it has neither of them.
    #[error("give exactly one of `response` or `error`")]
    ResponseOrError,
    /// `error.case` is not a case of `http-error` in the contract.
    #[error("`error.case` = {0:?} is not a case of `http-error`")]
    UnknownCase(String),
    /// The status is not a number from 200 to 999, the range of final answers.
    #[error("`status` = {0} is not the status of an answer: give 200 to 999")]
    Status(u16),
    /// The body is given both as text and as base64.
    #[error("give `body` or `body_base64`, not both")]
    TwoBodies,
    /// The body cannot be decoded.
    #[error("`body_base64` is not base64: {0}")]
    Base64(#[from] DecodeError),
}

/// One recorded exchange as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExchangeFile {
    request: RequestPart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<ResponsePart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorPart>,
}

/// The failure of an exchange. `case` is the name of a case of `http-error`.
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

/// If the folder is missing, creates it with access only for its owner. Refuses a folder that
/// already has exchanges.
pub(super) fn create_folder(folder: &Path) -> Result<(), RecordingError> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.map_err(|source| RecordingError::Disk { path: folder.to_owned(), source })?;
    if exchange_files(folder)?.is_empty() {
        Ok(())
    } else {
        Err(RecordingError::NotEmpty(folder.to_owned()))
    }
}

pub(super) fn write_exchange(
    folder: &Path,
    number: usize,
    text: &str,
) -> Result<(), RecordingError> {
    if number > EXCHANGES_MAX {
        return Err(RecordingError::TooLarge(folder.to_owned()));
    }
    let path = folder.join(format!("{number:04}.json"));
    let pretty = |text| serde_json::to_string_pretty(&serde_json::from_str::<ExchangeFile>(text)?);
    let json = pretty(text).map_err(|error| RecordingError::NotAnExchange {
        path: path.clone(),
        source: error.into(),
    })?;
    let written = write_private(&path, format!("{json}\n").as_bytes());
    written.map_err(|source| RecordingError::Disk { path: path.clone(), source })
}

/// Writes exchanges to a folder as a recording. Each exchange is a JSON text, as in a file of a
/// recording.
///
/// # Errors
/// The folder has a recording or cannot be used, or the exchanges are invalid or too many.
pub fn write_recording(folder: &Path, exchanges: &[String]) -> Result<(), RecordingError> {
    create_folder(folder)?;
    let mut numbered = exchanges.iter().zip(1..);
    numbered.try_for_each(|(text, number)| write_exchange(folder, number, text))
}

pub(super) fn exchange_text(request: TapedRequest, outcome: TapedOutcome) -> String {
    let (body, body_base64) = body_members(&request.body);
    let TapedRequest { method, url, headers, .. } = request;
    let request = RequestPart { method, url, headers, body, body_base64 };
    let (response, error) = match outcome {
        TapedOutcome::Answer(TapedAnswer { status, headers, body }) => {
            let (body, body_base64) = body_members(&body);
            (Some(ResponsePart { status, headers, body, body_base64 }), None)
        }
        TapedOutcome::Failure(error) => {
            let (case, text) = error.into_parts();
            (None, Some(ErrorPart { case: case.as_str().to_owned(), text }))
        }
    };
    // Serialization cannot fail, because the value has only texts, numbers and lists.
    serde_json::to_string(&ExchangeFile { request, response, error }).unwrap_or_default()
}

/// Reads all exchanges of a folder with their file names, in the order of these names.
pub(super) fn read_exchanges(
    folder: &Path,
) -> Result<Vec<(String, TapedRequest, TapedOutcome)>, RecordingError> {
    let files = exchange_files(folder)?;
    // If the recorded call sent no request, the folder contains its call file but no exchange.
    if files.is_empty() && !folder.join(CALL_FILE).exists() {
        return Err(RecordingError::Empty(folder.to_owned()));
    }
    let mut bytes_left = RECORDING_BYTES_MAX;
    let mut exchanges = Vec::new();
    for path in files {
        let disk_error = |source| RecordingError::Disk { path: path.clone(), source };
        let bytes = fs::metadata(&path).map_err(disk_error)?.len();
        let Some(left) = bytes_left.checked_sub(bytes) else {
            return Err(RecordingError::TooLarge(folder.to_owned()));
        };
        bytes_left = left;
        let text = fs::read_to_string(&path).map_err(disk_error)?;
        let (request, outcome) = parse_exchange(&text)
            .map_err(|source| RecordingError::NotAnExchange { path: path.clone(), source })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        exchanges.push((name, request, outcome));
    }
    Ok(exchanges)
}

fn exchange_files(folder: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let disk_error = |source| RecordingError::Disk { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk_error)? {
        let path = entry.map_err(disk_error)?.path();
        let is_call_file = path
            .file_name()
            .is_some_and(|name| CALL_FILES.iter().any(|call_file| name == *call_file));
        if !is_call_file && path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
        if files.len() > EXCHANGES_MAX {
            return Err(RecordingError::TooLarge(folder.to_owned()));
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn parse_exchange(text: &str) -> Result<(TapedRequest, TapedOutcome), InvalidExchange> {
    let ExchangeFile { request, response, error } = serde_json::from_str(text)?;
    let body = parse_body(request.body, request.body_base64)?;
    let RequestPart { method, url, headers, .. } = request;
    let request = TapedRequest { method, url, headers, body };
    match (response, error) {
        (Some(response), None) => Ok((request, TapedOutcome::Answer(parse_answer(response)?))),
        (None, Some(ErrorPart { case, text })) => match NoAnswer::parse(&case) {
            Some(case) => Ok((request, TapedOutcome::Failure(HttpError::from_case(case, text)))),
            None => Err(InvalidExchange::UnknownCase(case)),
        },
        _ => Err(InvalidExchange::ResponseOrError),
    }
}

fn parse_answer(response: ResponsePart) -> Result<TapedAnswer, InvalidExchange> {
    if !(200..=999).contains(&response.status) {
        return Err(InvalidExchange::Status(response.status));
    }
    let body = parse_body(response.body, response.body_base64)?;
    let ResponsePart { status, headers, .. } = response;
    Ok(TapedAnswer { status, headers, body })
}

/// A body that is not UTF-8 is in `body_base64`. An empty body is in neither member.
fn body_members(body: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(body) {
        Ok("") => (None, None),
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(body))),
    }
}

fn parse_body(text: Option<String>, base64: Option<String>) -> Result<Bytes, InvalidExchange> {
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
    fn exchanges_that_were_written_are_read_without_change() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        create_folder(&folder).unwrap();
        let request = |body: &'static [u8]| TapedRequest {
            method: "POST".to_owned(),
            url: "https://t.example/a?b=c".to_owned(),
            headers: vec![("accept".to_owned(), "text/plain".to_owned())],
            body: Bytes::from_static(body),
        };
        let answer = |body: &'static [u8]| {
            let body = Bytes::from_static(body);
            TapedOutcome::Answer(TapedAnswer { status: 201, headers: Vec::new(), body })
        };
        let failure = || TapedOutcome::Failure(HttpError::Interrupted("reset".to_owned()));
        write_exchange(&folder, 2, &exchange_text(request(b"\xff\0"), answer(b""))).unwrap();
        write_exchange(&folder, 1, &exchange_text(request(b"text"), answer(b"\xfe"))).unwrap();
        write_exchange(&folder, 3, &exchange_text(request(b""), failure())).unwrap();
        fs::write(folder.join("settings.json"), "{}").unwrap();
        let exchanges = read_exchanges(&folder).unwrap();
        assert_eq!(exchanges[0], ("0001.json".to_owned(), request(b"text"), answer(b"\xfe")));
        assert_eq!(exchanges[1], ("0002.json".to_owned(), request(b"\xff\0"), answer(b"")));
        assert_eq!(exchanges[2], ("0003.json".to_owned(), request(b""), failure()));
        assert_eq!(exchanges.len(), 3);
        assert!(matches!(create_folder(&folder), Err(RecordingError::NotEmpty(_))));
        let text = exchange_text(request(b""), failure());
        assert!(write_exchange(&folder, EXCHANGES_MAX + 1, &text).is_err());
    }

    #[test]
    fn an_error_about_an_exchange_file_names_the_file_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_exchanges(folder.path()), Err(RecordingError::Empty(_))));
        assert!(matches!(
            read_exchanges(&folder.path().join("no")),
            Err(RecordingError::Disk { .. })
        ));
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
            let error = read_exchanges(folder.path()).unwrap_err().to_string();
            assert!(error.contains("7.json") && error.contains(why), "{error}");
        }
    }
}
