//! Tests which values are masked, and in which texts.

use crate::report::{Assertion, CustomField, RobotLog, TestCaseLog};

use super::*;

fn default_mask() -> Mask {
    Mask::new(&MaskSettings::default()).expect("a mask")
}

#[test]
fn the_default_patterns_are_valid() {
    assert_eq!(DEFAULT_PATTERNS.len(), 4);
}

#[test]
fn values_with_the_names_of_secrets_are_masked_in_texts() {
    for (text, masked) in [
        ("password=hunter2, user=eve", "password=***, user=eve"),
        ("in_Password: hunter2", "in_Password: ***"),
        ("{\"apiKey\": \"a b\\\"c\", \"n\": 1}", "{\"apiKey\": ***, \"n\": 1}"),
        ("<DbPassword>hunter2</DbPassword>", "<DbPassword>***</DbPassword>"),
        ("Authorization: Bearer abc.def-ghi=", "Authorization: Bearer ***"),
        ("token: Bearer abc.def-ghi=, user=eve", "token: ***, user=eve"),
        ("x-auth-token=basic aHVudGVyMg==", "x-auth-token=***"),
        ("https://eve:hunter2@host/x", "https://eve:***@host/x"),
        ("the password is wrong", "the password is wrong"),
        ("keyboard: fine", "keyboard: fine"),
    ] {
        assert_eq!(default_mask().mask_text(text), masked);
    }
}

#[test]
fn values_with_the_names_of_secrets_are_masked_in_arguments() {
    for (text, masked) in [
        ("{\"in_Password\":\"x\",\"n\":7}", "{\"in_Password\":\"***\",\"n\":7}"),
        ("{\"a\":{\"client_secret\":[1,2]}}", "{\"a\":{\"client_secret\":\"***\"}}"),
        (
            "[{\"name\":\"in_Token\",\"value\":\"x\"},{\"name\":\"n\",\"value\":\"y\"}]",
            "[{\"name\":\"in_Token\",\"value\":\"***\"},{\"name\":\"n\",\"value\":\"y\"}]",
        ),
        ("{\"note\":\"pwd=x\"}", "{\"note\":\"pwd=***\"}"),
        ("token=x", "token=***"),
    ] {
        assert_eq!(default_mask().mask_arguments(text), masked);
    }
}

#[test]
fn secrets_in_the_logs_and_assertions_are_masked() {
    let secret = || Some("password=hunter2".to_owned());
    let mut data = TestData {
        log: Some(TestCaseLog {
            info: secret(),
            input_arguments: secret(),
            output_arguments: Some("{\"token\":\"hunter2\"}".to_owned()),
            post_condition: secret(),
            ..TestCaseLog::default()
        }),
        assertions: vec![Assertion {
            message: secret(),
            payload: secret(),
            ..Assertion::default()
        }],
        robot_logs: vec![RobotLog { message: secret().expect("a text"), ..RobotLog::default() }],
        ..TestData::default()
    };
    default_mask().apply(&mut data);
    assert!(!format!("{data:?}").contains("hunter2"), "{data:?}");
}

#[test]
fn patterns_and_names_of_the_connection_are_masked() {
    let mask = Mask::new(&MaskSettings {
        defaults: false,
        names: vec!["Social-Security".to_owned()],
        patterns: vec![r"\b\d{16}\b".to_owned(), "id (?<value>[0-9]+)".to_owned()],
    });
    let mask = mask.expect("a mask");
    assert_eq!(mask.mask_text("card 4111111111111111, id 77, pwd=x"), "card ***, id ***, pwd=x");
    assert_eq!(
        mask.mask_arguments("{\"socialSecurityNumber\":\"1\"}"),
        "{\"socialSecurityNumber\":\"***\"}"
    );
}

#[test]
fn values_in_json_that_a_text_contains_are_masked() {
    let contain = |json: &str| serde_json::json!({ "payload": json }).to_string();
    let mut json = r#"{"user":"ann","client_secret":["hunter2",1]}"#.to_owned();
    for depth in 1..=json::CONTAINED_JSON_DEPTH_MAX + 2 {
        json = contain(&json);
        let masked = default_mask().mask_arguments(&json);
        assert!(!masked.contains("hunter2"), "{depth}: {masked}");
        assert_eq!(
            masked.contains("ann"),
            depth <= json::CONTAINED_JSON_DEPTH_MAX,
            "{depth}: {masked}"
        );
    }
    let quoted = contain(&serde_json::json!(r#"{"client_secret":["hunter2"]}"#).to_string());
    assert!(!default_mask().mask_arguments(&quoted).contains("hunter2"), "{quoted}");
}

#[test]
fn json_stays_as_it_is_if_nothing_is_masked() {
    for json in [
        r#"{"text":"[1] is not JSON","number":"12345678901234567890123"}"#,
        r#"{ "b": 1, "a": [ 2 ] }"#,
        r#"{"payload":"{ \"b\": 12345678901234567890123, \"a\": [ 1.10 ] }"}"#,
        r#"{"Basic information":1,"Basic attributes":2}"#,
    ] {
        assert_eq!(default_mask().mask_arguments(json), json);
    }
    for json in [
        r#"{"client_secret":["hunter2"],"client_secret":null}"#,
        r#"{"payload":"{\"client_secret\":[\"hunter2\"],\"client_secret\":null}"}"#,
    ] {
        let masked = default_mask().mask_arguments(json);
        assert!(!masked.contains("hunter2"), "{masked}");
    }
}

#[test]
fn in_contained_json_patterns_match_as_in_any_text() {
    for (pattern, contained) in [
        (r#""pin": (?<value>\d+)"#, r#"{"pin": 4111, "password": "x"}"#),
        (
            r#""kind":"pin","digits":(?<value>\d+)"#,
            r#"{"kind":"pin","digits":4111,"a_password":"x"}"#,
        ),
        (r#""user":"\w+","pin":(?<value>\d+)"#, r#"{"user":"ann","pin":4111,"note":"\u00e4"}"#),
        (r"\b\d{20,}\b", r#"{"id":41111111111111111111111}"#),
        (r"\b\d{20,}\b", r#"{"id":41111111111111111111111,"password":"x"}"#),
        (r"\b\d{16}\b", r#"{"card":4111111111111111,"token":["x"]}"#),
        (r"\bunused\b", r#"{"https://u:4111@host":1}"#),
    ] {
        let settings =
            MaskSettings { patterns: vec![pattern.to_owned()], ..MaskSettings::default() };
        let mask = Mask::new(&settings).expect("a mask");
        let masked = mask.mask_arguments(&serde_json::json!({ "payload": contained }).to_string());
        assert!(!masked.contains("4111"), "{pattern}: {masked}");
    }
    let many: Vec<_> =
        (0..=json::CHECKED_MATCHES_MAX).map(|number| format!("id-{number}")).collect();
    let many = serde_json::json!({ "password": "x", "ids": many }).to_string();
    let settings = MaskSettings { patterns: vec![r"id-\d+".to_owned()], ..MaskSettings::default() };
    let mask = Mask::new(&settings).expect("a mask");
    let masked = mask.mask_arguments(&serde_json::json!({ "payload": many }).to_string());
    assert_eq!(masked, r#"{"payload":"***"}"#);
    let card = r#"{"card":4111111111111111}"#;
    let settings =
        MaskSettings { patterns: vec![r"\b\d{16}\b".to_owned()], ..MaskSettings::default() };
    let mask = Mask::new(&settings).expect("a mask");
    assert_eq!(mask.mask_arguments(card), r#"{"card":"***"}"#);
}

#[test]
fn invalid_patterns_are_refused_with_the_reason() {
    for (pattern, why) in [
        ("(", "unclosed group"),
        ("a*", "matches an empty text"),
        ("", "1 to 500 characters"),
        (r"\w{200}{200}", "size limit"),
    ] {
        let settings =
            MaskSettings { patterns: vec![pattern.to_owned()], ..MaskSettings::default() };
        let error = Mask::new(&settings).expect_err("refused");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn included_settings_add_their_names_and_patterns() {
    let settings_with = |defaults, name: &str| MaskSettings {
        defaults,
        names: vec![name.to_owned()],
        patterns: Vec::new(),
    };
    let mut settings = settings_with(false, "iban");
    settings.include(settings_with(true, "pin"));
    settings.include(settings_with(false, "iban"));
    assert_eq!(settings.names, ["iban", "pin"]);
    assert!(settings.defaults);
}

#[test]
fn names_apply_to_payloads_and_patterns_apply_to_custom_fields() {
    let settings = MaskSettings { names: vec!["customer".to_owned()], ..MaskSettings::default() };
    let payload = Some(r#"{"customer":["Ada","Bob"],"n":7}"#.to_owned());
    let field = CustomField { name: "link".to_owned(), value: "password=hunter2".to_owned() };
    let mut data = TestData {
        assertions: vec![Assertion { payload, ..Assertion::default() }],
        custom_fields: vec![field],
        ..TestData::default()
    };
    Mask::new(&settings).unwrap().apply(&mut data);
    assert_eq!(data.assertions[0].payload.as_deref(), Some(r#"{"customer":"***","n":7}"#));
    assert_eq!(data.custom_fields[0].value, "password=***");
}
