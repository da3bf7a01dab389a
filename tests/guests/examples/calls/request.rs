//! Converts the settings to the parts of a request, and the result of the request to texts.

use jackfield_test_guests::*;

/// Parses the setting `method`. An unknown method means GET.
pub fn parse_method(word: &str) -> Method {
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

pub fn parse_effect(word: &str) -> Option<Effect> {
    match word {
        "read" => Some(Effect::Read),
        "prepare" => Some(Effect::Prepare),
        "write" => Some(Effect::Write),
        _ => None,
    }
}

/// Replaces `{secret}` by the placeholder that the host provides for a secret in a body.
pub fn with_placeholder(text: &str) -> String {
    let secret = settings::get("key-json").or_else(|| settings::get("key-form"));
    text.replace("{secret}", &secret.unwrap_or_default())
}

/// Parses a text whose lines are pairs, `name=value`.
pub fn parse_pairs(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.into(), value.into()));
    text.lines().filter_map(pair).collect()
}

/// Makes a body of this kind from a text that may contain `{secret}`. An unknown kind means
/// `bytes`. If the kind is `form` or `multipart`, each line of the text is a field or a part,
/// `name=value`.
pub fn make_body(kind: &str, text: &str) -> Body {
    let text = with_placeholder(text);
    match kind {
        "json" => Body::Json(text),
        "form" => Body::Form(parse_pairs(&text)),
        "multipart" => Body::Multipart(parse_pairs(&text).into_iter().map(make_part).collect()),
        _ => Body::Bytes(text.into_bytes()),
    }
}

/// Makes a part of a multipart body. If the name ends with `@`, the part is a file, and the rest of
/// the name is the file name.
fn make_part((name, value): (String, String)) -> Part {
    let (media_type, content) = (None, Content::Bytes(value.clone().into_bytes()));
    match name.strip_suffix('@') {
        Some(file) => {
            let (name, file_name) = ("file".to_owned(), Some(file.to_owned()));
            Part { name, file_name, media_type, content }
        }
        None => Part { name, file_name: None, media_type, content: Content::Text(value) },
    }
}

/// Parses a text whose lines are headers, `name=value`. Replaces `{secret}` by a placeholder, and
/// the four characters `\r\n` by a line break.
pub fn parse_headers(text: &str) -> Vec<(String, String)> {
    let unescaped = |value: &str| with_placeholder(value).replace("\\r\\n", "\r\n");
    let pair =
        |line: &str| line.split_once('=').map(|(name, value)| (unescaped(name), unescaped(value)));
    text.lines().filter_map(pair).collect()
}

/// Returns the status and the text of an answer, or the kind and the reason of an error.
pub fn describe_result(result: Result<Response, HttpError>) -> (String, String) {
    match result {
        Ok(answer) => (answer.status.to_string(), describe_answer(&answer)),
        Err(HttpError::Denied(why)) => ("denied".to_owned(), why),
        Err(HttpError::Limit(why)) => ("limit".to_owned(), why),
        Err(HttpError::Unreachable(why)) => ("unreachable".to_owned(), why),
        Err(HttpError::Interrupted(why)) => ("interrupted".to_owned(), why),
        Err(HttpError::Invalid(why)) => ("invalid".to_owned(), why),
    }
}

/// Returns the address, the headers and the first 10,000 bytes of the body of an answer, as a text.
fn describe_answer(answer: &Response) -> String {
    let mut text = format!("url: {}\n", answer.url);
    for (name, value) in &answer.headers {
        text += &format!("{name}: {value}\n");
    }
    let bytes = jackfield_test_guests::body(answer);
    text + "\n" + &String::from_utf8_lossy(&bytes[..bytes.len().min(10_000)])
}

/// Makes a failed test with empty ids, for a call of `create` that does not use the ids.
pub fn empty_test() -> FailedTest {
    let (id, link) = (String::new(), None);
    FailedTest { test_execution_id: id.clone(), test_case_id: id, variation_id: None, link }
}
