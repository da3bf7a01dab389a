//! The settings' words as parts of a request, and an answer as text.

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

/// One header a line, name and value parted by the first `=`; `{secret}` is the placeholder's text
/// and `\r\n` stands for a real line break.
pub fn lines(text: &str) -> Vec<(String, String)> {
    let secret = setting("key-placeholder");
    let unescaped = |value: &str| value.replace("{secret}", &secret).replace("\\r\\n", "\r\n");
    let pair =
        |line: &str| line.split_once('=').map(|(name, value)| (unescaped(name), unescaped(value)));
    text.lines().filter_map(pair).collect()
}

pub fn text(answer: &Response) -> String {
    let mut text = String::new();
    for (name, value) in &answer.headers {
        text += &format!("{name}: {value}\n");
    }
    text + "\n" + &String::from_utf8_lossy(&answer.body[..answer.body.len().min(10_000)])
}
