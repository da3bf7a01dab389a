//! Converts the settings into parts of a request, and the result of the request into text.

use jackfield_test_guests::*;

pub fn method(word: &str) -> Method {
    match word {
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => Method::Get,
    }
}

pub fn effect(word: &str) -> Option<Effect> {
    match word {
        "read" => Some(Effect::Read),
        "prepare" => Some(Effect::Prepare),
        "write" => Some(Effect::Write),
        _ => None,
    }
}

/// Replaces `{secret}` by the placeholder of the secret that has a place in a body.
pub fn with_placeholder(text: &str) -> String {
    let secret = settings::get("key-json").or_else(|| settings::get("key-form"));
    text.replace("{secret}", &secret.unwrap_or_default())
}

/// Parses one header per line, `name=value`, with placeholders. The four characters `\r\n` are
/// replaced by a line break.
pub fn headers(text: &str) -> Vec<(String, String)> {
    let unescaped = |value: &str| with_placeholder(value).replace("\\r\\n", "\r\n");
    let pair =
        |line: &str| line.split_once('=').map(|(name, value)| (unescaped(name), unescaped(value)));
    text.lines().filter_map(pair).collect()
}

/// Two texts: the status or the kind of error, and the answer or the reason of the error.
pub fn outcome(result: Result<Response, HttpError>) -> (String, String) {
    match result {
        Ok(answer) => (answer.status.to_string(), text(&answer)),
        Err(HttpError::Denied(why)) => ("denied".to_owned(), why),
        Err(HttpError::Limit(why)) => ("limit".to_owned(), why),
        Err(HttpError::Unreachable(why)) => ("unreachable".to_owned(), why),
        Err(HttpError::Interrupted(why)) => ("interrupted".to_owned(), why),
        Err(HttpError::Invalid(why)) => ("invalid".to_owned(), why),
    }
}

/// The headers and the first 10,000 bytes of the body.
fn text(answer: &Response) -> String {
    let mut text = String::new();
    for (name, value) in &answer.headers {
        text += &format!("{name}: {value}\n");
    }
    text + "\n" + &String::from_utf8_lossy(&answer.body[..answer.body.len().min(10_000)])
}

/// A failed test with empty ids, for a call that does not use it.
pub fn empty_test() -> FailedTest {
    let (id, link) = (String::new(), None);
    FailedTest { test_execution_id: id.clone(), test_case_id: id, variation_id: None, link }
}
