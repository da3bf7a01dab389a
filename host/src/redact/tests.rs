//! Tests that each form of an echo is found, that the search is fast, and that no other text is
//! redacted.

use super::*;
use data_encoding::HEXLOWER;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

/// Returns the text with its percent escapes in lower case.
fn lower_escapes(percent: &str) -> String {
    let mut parts = percent.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(part.len().min(2));
        text + "%" + &digits.to_ascii_lowercase() + rest
    })
}

fn redactor_of(secrets: &[&str]) -> Redactor {
    let secrets: Vec<_> = secrets.iter().map(|text| Secret::new((*text).to_owned())).collect();
    Redactor::new(&secrets, &[])
}

/// A secret with characters that most formats escape.
const SECRET: &str = "p/ä\"s+s w&rd~1";

#[test]
fn an_echo_is_found_in_every_form() {
    let redactor = redactor_of(&[SECRET]);
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
        let redacted = redactor.redact(TextKind::ForPeople, format!("before {echo} after"));
        assert!(redacted.contains(MASK), "{echo} is still in {redacted}");
        assert!(redacted.starts_with("before ") && redacted.ends_with(" after"), "{redacted}");
        assert_eq!(
            redactor.redact_bytes(Bytes::from(echo.clone())),
            redactor.redact(TextKind::ForPeople, echo)
        );
    }
}

#[test]
fn every_escape_is_found_wherever_the_text_is_divided() {
    let redactor = redactor_of(&["a<b>\u{8}\u{c}\n\r\t/'é😀\\z-and-more"]);
    for echo in [
        r#"a<b>\b\f\n\r\t\/'\u00e9\ud83d\ude00\\z-and-more"#,
        r#"a\u003cb\u003e\u0008\u000C\u000a\u000d\u0009/\'é\uD83D\uDE00\\z-and-more"#,
        r#"a<b>\\b\\f\\n\\r\\t\\/'\\u00e9\\ud83d\\ude00\\\\z-and-more"#,
        "a&lt;b&gt;&#8;&#12;&#10;&#xD;&#9;&#x2f;&apos;&#233;&#x1F600;&#92;z-and-more",
    ] {
        let text = format!("before {echo} after");
        assert_eq!(
            redactor.redact(TextKind::ForPeople, text.clone()),
            "before [secret] after",
            "{echo}"
        );
        for cut in 0..=text.len() {
            let (first, mut out) = (&text.as_bytes()[..cut], Vec::new());
            let done = redactor.redact_part(first, 0, false, &mut out).unwrap();
            redactor.redact_part(text.as_bytes(), done, true, &mut out).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), "before [secret] after", "{cut}: {echo}");
        }
    }
    let incomplete_secret = r"a<b>\b\f\n\r\t/'\u00e9\ud83d and";
    assert_eq!(
        redactor.redact(TextKind::ForPeople, incomplete_secret.to_owned()),
        incomplete_secret
    );
}

#[test]
fn a_secret_in_base64_is_found_at_any_offset_of_a_longer_text() {
    let redactor = redactor_of(&["s3cr3t-t0ken"]);
    for user in ["", "u", "us", "usr", "user"] {
        let text = data_encoding::BASE64.encode(format!("{user}:s3cr3t-t0ken:x").as_bytes());
        let redacted = redactor.redact(TextKind::ForPeople, text.clone());
        assert!(redacted.contains(MASK), "{user}: {text}");
    }
}

#[test]
fn a_text_without_a_secret_is_not_changed() {
    let redactor = redactor_of(&["s3cr3t-t0ken"]);
    assert_eq!(redactor.redact(TextKind::ForPeople, "abc s3cr3t".to_owned()), "abc s3cr3t");
    assert!(!redactor.contains_secret(TextKind::Answer, b"abc"));
    assert_eq!(redactor_of(&[]).redact_bytes(Bytes::from_static(b"x")), "x");
}

#[test]
fn a_token_with_special_characters_is_masked_completely_in_each_form() {
    let redactor = redactor_of(&[SECRET, "AbC+dEf/GhI==-x.Y_z~Q"]);
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
        let redacted = redactor.redact(TextKind::ForPeople, format!("before {form} after"));
        assert_eq!(redacted, "before [secret] after", "{form}");
    }
    let pair = data_encoding::BASE64.encode(b"user:AbC+dEf/GhI==-x.Y_z~Q:x");
    assert!(
        redactor.contains_secret(TextKind::Answer, pair.as_bytes())
            && redactor.contains_secret(TextKind::Answer, SECRET.as_bytes())
    );
}

/// A tracker can choose both a secret (the OAuth token that it issues) and the text that is
/// searched for it (its answer). Here, the token almost matches at each letter of the text.
#[test]
fn a_text_designed_to_slow_the_search_does_not_slow_it() {
    let (token, pair) = ("a".repeat(4_000), "a".repeat(4_000) + ":s3cr3t/+");
    let almost_matching = ("a".repeat(3_999) + "b").repeat(100);
    let started = std::time::Instant::now();
    let is_masked = |secret: &str, text: &str| {
        redactor_of(&[secret]).redact(TextKind::ForPeople, text.to_owned()) == MASK
    };
    assert!(is_masked(&token, &almost_matching) && is_masked(&pair, &almost_matching));
    // The text can be read with or without each of its escapes, so the number of interpretations
    // doubles with each escape.
    let (secret, text) = ("%41A".repeat(1_000) + "!", "%41".repeat(100_000));
    assert!(is_masked(&secret, &text));
    // The text consists of long runs of characters that may begin an escape.
    for run in ["\\", "%", "&", "&#0", "+", "\\u00"] {
        let text = run.repeat(100_000);
        let redacted =
            redactor_of(&[SECRET, "\\\\ s", "%%25"]).redact(TextKind::ForPeople, text.clone());
        assert!(redacted == text || redacted == MASK, "a run of {run}");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_long_secret_is_found_in_every_form_without_additional_memory() {
    let long: String = (0..4_096).map(|n| format!("{n:03x}/")).collect();
    let secrets: Vec<_> = (0..100).map(|n| Secret::new(format!("{n}{long}"))).collect();
    let redactor = Redactor::new(&secrets, &[]);
    let candidates: usize = redactor.candidates_by_byte.iter().map(Vec::len).sum();
    assert!(candidates < 10_000, "{candidates} entries");
    let json = long.replace('/', "\\u002f");
    let html = long.replace('0', "&#x30;");
    let percent = utf8_percent_encode(&long, NON_ALPHANUMERIC).to_string();
    for echo in [long.clone(), json, html, percent] {
        assert_eq!(
            redactor.redact(TextKind::ForPeople, format!("before 7{echo} after")),
            "before [secret] after"
        );
    }
    let pair = data_encoding::BASE64.encode(format!("user:7{long}").as_bytes());
    assert!(redactor.contains_secret(TextKind::Answer, pair.as_bytes()));
}

#[test]
fn a_secret_is_found_wherever_a_text_is_divided() {
    let redactor = redactor_of(&[SECRET, "w&rd~1, longer than that"]);
    let json = serde_json::to_string(SECRET).unwrap();
    let base64 = data_encoding::BASE64.encode(SECRET.as_bytes());
    let pair = data_encoding::BASE64.encode(format!("u:{SECRET}").as_bytes());
    let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
    for echo in [SECRET.to_owned(), json, percent, base64, pair, "&#112;&#x2F;ä\"s".to_owned()] {
        let text = format!("before {echo} after \\ & %");
        let whole = redactor.redact(TextKind::ForPeople, text.clone());
        for cut in 0..text.len() {
            let mut redacted = Vec::new();
            let done =
                redactor.redact_part(&text.as_bytes()[..cut], 0, false, &mut redacted).unwrap();
            assert!(done <= cut && cut - done < 200, "{done} of {cut}");
            let last = redactor.redact_part(&text.as_bytes()[done..], 0, true, &mut redacted);
            assert_eq!(last, Some(text.len() - done));
            assert_eq!(String::from_utf8_lossy(&redacted), whole, "cut at {cut}");
        }
    }
}

/// Texts of a tracker that use the word `issue` and do not echo the secret `issue`.
const TEXTS_WITHOUT_ECHO: [&str; 17] = [
    "<x:issue><a>7</a></x:issue>",
    r#"{"issue":{"id":7}}"#,
    r#"{"issue" : 1, "an issue":2, "issue type":3}"#,
    r#"{"self":"https://t.example/rest/api/2/issue/7"}"#,
    r#"{"self":"https:\/\/t.example\/issue\/7"}"#,
    r#"{"key":"issue-7","file":"issue.txt","mail":"issue@t.example"}"#,
    "/login?to=%2Fissue%2F7",
    "<issue><id>7</id></issue>",
    r#"<a href="/issue/7">seven</a>"#,
    "issues reissue issue_id tissue",
    "?issue=7&x=1",
    r#"{"body":"{\"issue\":{\"id\":7}}"}"#,
    "https://issue.example/",
    r#"{"\u0069ssue":7}"#,
    "%69ssue=7",
    "/&#47;issue&#47;",
    "M\u{fc}issue",
];

/// Texts of a tracker that echo the secret `issue`, each with the redacted text.
const TEXTS_WITH_ECHO: [(&str, &str); 15] = [
    (r#"{"key":"issue"}"#, r#"{"key":"[secret]"}"#),
    (r#"["issue","a"]"#, r#"["[secret]","a"]"#),
    (r#"{"error":"the key issue is wrong"}"#, r#"{"error":"the key [secret] is wrong"}"#),
    (r#"{"body":"{\"key\":\"issue\"}"}"#, r#"{"body":"{\"key\":\"[secret]\"}"}"#),
    ("key=issue&x=1", "key=[secret]&x=1"),
    ("?key=%69ssue", "?key=[secret]"),
    ("Bearer issue", "Bearer [secret]"),
    ("user:issue", "user:[secret]"),
    ("no such key: issue.", "no such key: [secret]."),
    ("(issue)", "([secret])"),
    ("<key>issue</key>", "<key>[secret]</key>"),
    (r#"{"text":"key\nissue\n"}"#, r#"{"text":"key\n[secret]\n"}"#),
    ("a%20issue%20b", "a%20[secret]%20b"),
    ("aXNzdWU=", "[secret]"),
    ("hex 6973737565", "hex [secret]"),
];

#[test]
fn a_short_secret_is_redacted_only_as_a_whole_value_or_word() {
    let redactor = redactor_of(&["issue"]);
    for text in TEXTS_WITHOUT_ECHO {
        assert_eq!(redactor.redact_bytes(Bytes::from(text)), text);
    }
    for (echo, redacted) in TEXTS_WITH_ECHO {
        assert_eq!(redactor.redact_bytes(Bytes::from(echo)), redacted, "{echo}");
    }
    let long = redactor_of(&["issue-tracker"]);
    assert_eq!(long.redact(TextKind::ForPeople, "/x-issue-trackers/".to_owned()), "/x-[secret]s/");
}

#[test]
fn redacting_a_short_secret_that_is_a_json_literal_leaves_the_json_valid() {
    for (secret, body, redacted) in [
        (
            "1234",
            r#"{"id":1234,"n":[1234],"key":"1234"}"#,
            r#"{"id":1234,"n":[1234],"key":"[secret]"}"#,
        ),
        ("true", r#"{"ok":true,"key":"true"}"#, r#"{"ok":true,"key":"[secret]"}"#),
        ("nan", r#"{"text":"nan or true"}"#, r#"{"text":"[secret] or true"}"#),
        (".500", r#"{"price":12.500,"key":".500"}"#, r#"{"price":12.500,"key":"[secret]"}"#),
        ("0123", r#"{"id":30313233}"#, r#"{"id":30313233}"#),
        ("+100", r#"[1e+100,"+100"]"#, r#"[1e+100,"[secret]"]"#),
        ("0123", r#"{"text":"pin 0123"}"#, r#"{"text":"pin [secret]"}"#),
        ("0042-7719", r#"{"text":"Bearer 0042-7719, x"}"#, r#"{"text":"Bearer [secret], x"}"#),
    ] {
        assert_eq!(redactor_of(&[secret]).redact_bytes(Bytes::from(body)), redacted);
    }
}

#[test]
fn a_short_secret_is_not_redacted_in_links_keys_and_the_connections_own_texts() {
    let own = ["http://redmine:3000", "redmine:3000", "redmine", "our redmine board"];
    let own: Vec<_> = own.map(str::to_owned).to_vec();
    let secrets = ["redmine", "board"].map(|text| Secret::new(text.to_owned()));
    let redactor = Redactor::new(&secrets[1..], &own);
    for kind in [TextKind::ForPeople, TextKind::Answer] {
        let text = |text: &str| redactor.redact(kind, text.to_owned());
        assert_eq!(text("see our redmine board, key board"), "see our redmine board, key [secret]");
    }
    let name = redactor.redact(TextKind::Name, "http://t.example/a?x=board".to_owned());
    assert_eq!(name, "http://t.example/a?x=board");
    assert_eq!(redactor.redact(TextKind::Value, "the board".to_owned()), "the board");
    assert_eq!(redactor.redact(TextKind::Value, "board".to_owned()), MASK);
    let own_word = Redactor::new(&secrets[..1], &own);
    assert_eq!(
        own_word.redact(TextKind::ForPeople, "redmine at http://redmine:3000/a".to_owned()),
        "redmine at http://redmine:3000/a"
    );
}

#[test]
fn a_short_secret_is_redacted_in_the_same_places_wherever_a_text_is_divided() {
    let own = ["our issue board".to_owned()];
    let redactor = Redactor::new(&[Secret::new("issue".to_owned())], &own);
    let filler = "x ".repeat(400);
    for text in TEXTS_WITHOUT_ECHO
        .into_iter()
        .chain(TEXTS_WITH_ECHO.map(|(echo, _)| echo))
        .chain(["our issue board"])
    {
        let text = format!("{filler}{text}{filler}");
        let whole = redactor.redact_bytes(Bytes::from(text.clone()));
        for cut in filler.len() - 20..text.len() - filler.len() + 20 {
            let (mut redacted, mut rest) = (Vec::new(), text.as_bytes()[..cut].to_vec());
            let done = redactor.redact_part(&rest, 0, false, &mut redacted).unwrap();
            let context = redactor.context_bytes().min(done);
            rest.drain(..done - context);
            rest.extend_from_slice(&text.as_bytes()[cut..]);
            redactor.redact_part(&rest, context, true, &mut redacted).unwrap();
            assert_eq!(redacted, whole, "{text} cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn every_echo_of_a_short_secret_as_a_word_is_redacted(
        secret in "[a-zA-Z0-9!#$*+^_~ä]{4,11}",
        before in "|[a-z]{0,5} |\"",
        after in "| [a-z]{0,5}|\"",
    ) {
        let redactor = redactor_of(&[secret.as_str()]);
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for echo in [secret.clone(), form] {
            let redacted = redactor.redact(TextKind::ForPeople, format!("{before}{echo}{after}"));
            prop_assert!(redacted.contains(MASK), "{} in {}", echo, redacted);
        }
    }

    #[test]
    fn every_echo_of_a_secret_is_redacted(
        secret in "[ -~]{12,40}|\\PC{12,20}",
        before in "[a-z:]{0,5}",
        after in "[a-z:]{0,5}",
    ) {
        let redactor = redactor_of(&[secret.as_str()]);
        let json = serde_json::to_string(&secret).unwrap();
        let json = json[1..json.len() - 1].to_owned();
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let percent = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
        for echo in [secret.clone(), json, form, lower_escapes(&percent), percent] {
            let redacted = redactor.redact(TextKind::ForPeople, format!("{before}{echo}{after}"));
            prop_assert!(redacted.contains(MASK), "{} in {}", echo, redacted);
        }
        let pair = data_encoding::BASE64.encode(format!("{before}{secret}{after}").as_bytes());
        prop_assert!(redactor.contains_secret(TextKind::Answer, pair.as_bytes()), "{}", pair);
    }
}
