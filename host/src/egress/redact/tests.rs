//! Each form of an echo is found, quickly, and nothing else.

use super::*;
use data_encoding::HEXLOWER;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

/// The text with its percent escapes in lower case.
fn lower_escapes(percent: &str) -> String {
    let mut parts = percent.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(part.len().min(2));
        text + "%" + &digits.to_ascii_lowercase() + rest
    })
}

fn searching(secrets: &[&str]) -> Redactor {
    let secrets: Vec<_> = secrets.iter().map(|text| Secret::new((*text).to_owned())).collect();
    Redactor::new(&secrets)
}

const SECRET: &str = "p/ä\"s+s w&rd~1";

#[test]
fn an_echo_is_found_in_every_form() {
    let redactor = searching(&[SECRET]);
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
    let redactor = searching(&["s3cr3t-t0ken"]);
    for user in ["", "u", "us", "usr", "user"] {
        let text = data_encoding::BASE64.encode(format!("{user}:s3cr3t-t0ken:x").as_bytes());
        let redacted = redactor.text(text.clone());
        assert!(redacted.contains(MASK), "{user}: {text}");
    }
}

#[test]
fn a_text_without_a_secret_is_not_changed() {
    let redactor = searching(&["s3cr3t-t0ken"]);
    assert_eq!(redactor.text("abc s3cr3t".to_owned()), "abc s3cr3t");
    assert!(!redactor.finds(b"abc"));
    assert_eq!(searching(&[]).bytes(Bytes::from_static(b"x")), "x");
}

#[test]
fn a_token_is_found_as_a_whole_in_each_form() {
    let redactor = searching(&[SECRET, "AbC+dEf/GhI==-x.Y_z~Q"]);
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
/// text: a search without a limit would take half a minute. The text then counts as a secret.
#[test]
fn a_text_designed_to_slow_the_search_does_not_slow_it() {
    let (token, pair) = ("a".repeat(4_000), "a".repeat(4_000) + ":s3cr3t/+");
    let near = ("a".repeat(3_999) + "b").repeat(100);
    let began = std::time::Instant::now();
    let is_masked = |secret: &str, text: &str| searching(&[secret]).text(text.to_owned()) == MASK;
    assert!(is_masked(&token, &near) && is_masked(&pair, &near));
    // Two readings of each escape: as many paths as there are texts of two letters.
    let (two, readings) = ("%41A".repeat(1_000) + "!", "%41".repeat(100_000));
    assert!(is_masked(&two, &readings));
    // Long runs of what may begin an escape.
    for run in ["\\", "%", "&", "&#0", "+", "\\u00"] {
        let text = run.repeat(100_000);
        let redacted = searching(&[SECRET, "\\\\ s", "%%25"]).text(text.clone());
        assert!(redacted == text || redacted == MASK, "a run of {run}");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

/// What a search holds: the secrets, and nothing that grows with their forms.
#[test]
fn a_long_secret_is_found_in_every_form_and_costs_its_own_length() {
    let long: String = (0..4_096).map(|n| format!("{n:03x}/")).collect();
    let secrets: Vec<_> = (0..100).map(|n| Secret::new(format!("{n}{long}"))).collect();
    let redactor = Redactor::new(&secrets);
    let lists: usize = redactor.begins.iter().map(Vec::len).sum();
    assert!(lists < 10_000, "{lists} entries");
    let json = long.replace('/', "\\u002f");
    let html = long.replace('0', "&#x30;");
    let percent = utf8_percent_encode(&long, NON_ALPHANUMERIC).to_string();
    for echo in [long.clone(), json, html, percent] {
        assert_eq!(redactor.text(format!("before 7{echo} after")), "before [secret] after");
    }
    let pair = data_encoding::BASE64.encode(format!("user:7{long}").as_bytes());
    assert!(redactor.finds(pair.as_bytes()));
}

#[test]
fn a_secret_is_found_wherever_a_text_is_divided() {
    let redactor = searching(&[SECRET, "w&rd~1, longer than that"]);
    let json = serde_json::to_string(SECRET).unwrap();
    let base64 = data_encoding::BASE64.encode(SECRET.as_bytes());
    let pair = data_encoding::BASE64.encode(format!("u:{SECRET}").as_bytes());
    let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
    for echo in [SECRET.to_owned(), json, percent, base64, pair, "&#112;&#x2F;ä\"s".to_owned()] {
        let text = format!("before {echo} after \\ & %");
        let whole = redactor.text(text.clone());
        for cut in 0..text.len() {
            let mut redacted = Vec::new();
            let done = redactor.part(&text.as_bytes()[..cut], false, &mut redacted).unwrap();
            assert!(done <= cut && cut - done < 200, "{done} of {cut}");
            let last = redactor.part(&text.as_bytes()[done..], true, &mut redacted);
            assert_eq!(last, Some(text.len() - done));
            assert_eq!(String::from_utf8_lossy(&redacted), whole, "cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn every_echo_of_a_secret_is_redacted(
        secret in "[ -~]{4,40}|\\PC{4,12}",
        before in "[a-z:]{0,5}",
        after in "[a-z:]{0,5}",
    ) {
        let redactor = searching(&[secret.as_str()]);
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
