//! Each form of an echo is found, quickly, and nothing else.

use super::forms::lower_escapes;
use super::*;
use data_encoding::HEXLOWER;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

const SECRET: &str = "p/ä\"s+s w&rd~1";

#[test]
fn an_echo_is_found_in_every_form() {
    let redactor = Redactor::new([SECRET], []);
    let standard = data_encoding::BASE64.encode(SECRET.as_bytes());
    let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
    for echo in [
        SECRET.to_owned(),
        serde_json::to_string(SECRET).unwrap(),
        r#"p\/\u00e4\"s+s w&rd~1"#.to_owned(),
        r#"p/\u00E4\"s\u002Bs w\u0026rd~1"#.to_owned(),
        "p%2F%C3%A4%22s%2Bs+w%26rd%7E1".to_owned(),
        "p%2f%c3%a4%22s%2bs%20w%26rd~1".to_owned(),
        url::Url::parse(&format!("http://a/?{SECRET}")).unwrap().to_string(),
        lower_escapes(&percent),
        r#"p\/ä\u0022s+s w&rd~1"#.to_owned(),
        r#"p\\\/ä\\\"s+s w&amp;rd~1"#.to_owned(),
        "p&#47;&#xE4;&quot;s+s&#32;w&amp;rd~1".to_owned(),
        percent,
        standard,
        data_encoding::BASE64URL_NOPAD.encode(SECRET.as_bytes()),
        HEXLOWER.encode(SECRET.as_bytes()).to_uppercase(),
    ] {
        let redacted = redactor.text(format!("before {echo} after"));
        assert!(redacted.contains(MASK), "{echo} stayed in {redacted}");
        assert!(redacted.starts_with("before ") && redacted.ends_with(" after"), "{redacted}");
        assert_eq!(redactor.bytes(Bytes::from(echo.clone())), redactor.text(echo));
    }
}

#[test]
fn base64_is_found_inside_longer_texts_at_any_offset() {
    let redactor = Redactor::new(["s3cr3t-t0ken"], []);
    for user in ["", "u", "us", "usr", "user"] {
        let text = data_encoding::BASE64.encode(format!("{user}:s3cr3t-t0ken:x").as_bytes());
        let redacted = redactor.text(text.clone());
        assert!(redacted.contains(MASK), "{user}: {text}");
    }
}

#[test]
fn a_text_without_a_secret_is_not_changed() {
    let redactor = Redactor::new(["s3cr3t-t0ken"], []);
    assert_eq!(redactor.text("abc s3cr3t".to_owned()), "abc s3cr3t");
    assert!(!redactor.finds(b"abc"));
    assert_eq!(Redactor::new([], []).bytes(Bytes::from_static(b"x")), "x");
}

#[test]
fn a_token_is_found_as_a_whole_in_each_form() {
    let redactor = Redactor::new([SECRET], ["AbC+dEf/GhI==-x.Y_z~Q"]);
    for form in [
        "AbC+dEf/GhI==-x.Y_z~Q",
        "AbC%2BdEf%2FGhI%3D%3D-x.Y_z%7EQ",
        "AbC%2bdEf%2fGhI%3d%3d-x.Y_z%7eQ",
        "AbC%2BdEf%2FGhI%3D%3D%2Dx%2EY%5Fz%7EQ",
        "AbC%2bdEf%2fGhI%3d%3d%2dx%2eY%5fz%7eQ",
        r"AbC+dEf\/GhI==-x.Y_z~Q",
        r"AbC\u002BdEf/GhI==-x.Y_z~Q",
        r"AbC\u002bdEf/GhI==-x.Y_z~Q",
        r"AbC\u002bdEf\u002fGhI\u003d\u003d\u002dx\u002eY\u005fz\u007eQ",
        "AbC&#43;dEf/GhI==-x.Y_z~Q",
        "AbC&#x2B;dEf/GhI==-x.Y_z~Q",
        "QWJDK2RFZi9HaEk9PS14Lllfen5R",
        "4162432b6445662f4768493d3d2d782e595f7a7e51",
    ] {
        let redacted = redactor.text(format!("before {form} after"));
        assert_eq!(redacted, "before [secret] after", "{form}");
    }
    let pair = data_encoding::BASE64.encode(b"user:AbC+dEf/GhI==-x.Y_z~Q:x");
    assert!(redactor.finds(pair.as_bytes()) && redactor.finds(SECRET.as_bytes()));
}

/// A tracker chooses the token and the text. Here the token nearly matches at each letter of the
/// text: a search that started again at each letter would take half a minute.
#[test]
fn a_text_designed_to_slow_the_search_does_not_slow_it() {
    let (token, pair) = ("a".repeat(4_000), "a".repeat(4_000) + ":s3cr3t/+");
    let redactor = Redactor::new([], [token.as_str(), pair.as_str()]);
    let near = ("a".repeat(3_999) + "b").repeat(2_000);
    assert_eq!(redactor.text(near.clone()), near);
}

#[test]
fn if_the_search_cannot_be_built_every_text_is_redacted() {
    let redactor = Redactor::with_limit([SECRET], [], 10);
    assert!(redactor.finds(b"a"));
    assert_eq!(redactor.text("a".to_owned()), MASK);
    assert_eq!(redactor.bytes(Bytes::from_static(b"a")), MASK);
}

proptest! {
    #[test]
    fn every_echo_of_a_secret_is_redacted(
        secret in "[ -~]{4,40}|\\PC{4,12}",
        before in "[a-z:]{0,5}",
        after in "[a-z:]{0,5}",
    ) {
        let redactor = Redactor::new([secret.as_str()], []);
        let json = serde_json::to_string(&secret).unwrap();
        let json = json[1..json.len() - 1].to_owned();
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let percent = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
        for echo in [secret.clone(), json, form, lower_escapes(&percent), percent] {
            let redacted = redactor.text(format!("{before}{echo}{after}"));
            prop_assert!(redacted.contains(MASK), "{} in {}", echo, redacted);
        }
        let pair = data_encoding::BASE64.encode(format!("{before}{secret}{after}").as_bytes());
        prop_assert!(redactor.finds(pair.as_bytes()), "{}", pair);
    }
}
