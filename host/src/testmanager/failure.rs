//! The reasons why a part of the data could not be fetched, each as the second half of a sentence.
//!
//! Texts from Test Manager are shortened and made printable, but they are never escaped for a
//! markup.

use crate::domain::{printable, shortened};
use crate::egress::{HttpError, TokenError};

use super::json;

/// The size to which a text from Test Manager is shortened before it is shown, bytes.
const SHOWN_TEXT_BYTES_MAX: usize = 200;

/// The reason why a part of the data could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no token, or no memory for requests, so nothing can be fetched.
    Token(String),
    /// A scope is not granted, so there is no token.
    Scope(String),
    /// The project could not be identified, so nothing that belongs to a project can be fetched.
    Project(String),
    NotFound(String),
    /// The answer or the file has more bytes than may be read.
    TooLarge(String),
    /// Any other reason; other parts may still be fetched.
    Other(String),
}

impl Failure {
    /// Returns the reason as the second half of a sentence, such as `Test Manager answered 404`.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Token(why)
            | Self::Scope(why)
            | Self::Project(why)
            | Self::NotFound(why)
            | Self::TooLarge(why)
            | Self::Other(why) => why,
        }
    }

    /// Returns the failure for an answer whose status is not a success. `scope` is the scope that
    /// the request probably needs.
    pub(super) fn from_status(status: u16, body: &[u8], scope: &str) -> Self {
        let description = describe_body(body);
        match status {
            401 => Self::Other(format!(
                "Test Manager answered 401{description}: it does not accept the token; check the client \
                 id, its secret and the token URL"
            )),
            403 => Self::Other(format!(
                "Test Manager answered 403{description}: the client may not read this; it needs the \
                 scope {scope} and a role in the project"
            )),
            404 => Self::NotFound(format!("Test Manager answered 404{description}")),
            _ => Self::Other(format!("Test Manager answered {status}{description}")),
        }
    }

    /// Returns the failure for a successful answer with an unexpected body. `expected` is the
    /// expected kind of body, such as `JSON`.
    pub(super) fn unexpected_body(expected: &str, status: u16, body: &[u8]) -> Self {
        let description = describe_body(body);
        Self::Other(format!(
            "Test Manager answered {status}{description} instead of {expected}; check the address of \
             Test Manager"
        ))
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Scope(why) => Self::Scope(why),
            TokenError::Other(HttpError::Denied(why)) => Self::Token(why),
            TokenError::Other(error) => {
                Self::Token(format!("there is no token: {}", error.into_parts().1))
            }
        }
    }
}

/// Describes the body of an answer: by the message of a JSON error, by the title of a web page, or
/// only as a text.
fn describe_body(body: &[u8]) -> String {
    if body.iter().all(u8::is_ascii_whitespace) {
        return String::new();
    }
    let text = String::from_utf8_lossy(body);
    if let Ok(value) = serde_json::from_str(&text) {
        let names = ["message", "detail", "title", "errorMessage", "error"];
        return json::text_member(&value, &names).map_or_else(String::new, |description| {
            format!(" ({})", short_printable(&description))
        });
    }
    if !text.trim_start().starts_with('<') {
        return " with a text".to_owned();
    }
    match page_title(&text) {
        Some(title) => format!(" with a web page ({:?})", short_printable(&title)),
        None => " with a web page".to_owned(),
    }
}

fn page_title(page: &str) -> Option<String> {
    let lower_case_page = page.to_ascii_lowercase();
    let start = lower_case_page.find("<title")?;
    let start = start + lower_case_page.get(start..)?.find('>')? + 1;
    let end = start + lower_case_page.get(start..)?.find("</title")?;
    let words: Vec<_> = page.get(start..end)?.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn short_printable(text: &str) -> String {
    printable(&shortened(text.trim(), SHOWN_TEXT_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_described_by_its_message_or_its_title() {
        let page =
            b"<!DOCTYPE html>\n<HTML><head><Title lang=en>Access\n  denied</title></head></html>";
        for (status, body, parts) in [
            (403, &page[..], vec!["403 with a web page (\"Access denied\")", "TM.X.Read"]),
            (403, b"<html>", vec!["403 with a web page:"]),
            (404, br#"{"message":"No such\u001bthing"}"#, vec!["404 (No such\\u{1b}thing)"]),
            (500, br#"{"title":"Broken"}"#, vec!["answered 500 (Broken)"]),
            (500, b"", vec!["answered 500"]),
            (502, b"bad gateway", vec!["502 with a text"]),
            (401, b"{}", vec!["401: it does not accept the token"]),
        ] {
            let failure = Failure::from_status(status, body, "TM.X.Read");
            for part in parts {
                assert!(failure.why().contains(part), "{part} in {failure:?}");
            }
        }
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(1_000));
        assert!(Failure::from_status(500, long.as_bytes(), "").why().len() < 300);
        let page = Failure::unexpected_body("JSON", 200, page);
        assert!(page.why().contains("200 with a web page"), "{page:?}");
    }
}
