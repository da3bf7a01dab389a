//! Tests each validation keyword with values that it allows and values that it refuses.

use serde_json::{Value, json};

use super::*;

fn compile(schema: &Value) -> Result<Rules, SchemaError> {
    Rules::compile(schema.as_object().unwrap())
}

fn errors(schema: &Value, value: &Value) -> Vec<String> {
    compile(schema).unwrap().errors(value).collect()
}

/// A schema, values that it allows, values that it refuses, and a part of the error.
type Case = (Value, Vec<Value>, Vec<Value>, &'static str);

#[track_caller]
fn check_cases(cases: Vec<Case>) {
    for (schema, allowed, refused, error) in cases {
        for value in allowed {
            assert_eq!(errors(&schema, &value), [""; 0], "{schema} {value}");
        }
        for value in refused {
            let errors = errors(&schema, &value);
            assert!(errors.len() == 1 && errors[0].contains(error), "{schema} {value}: {errors:?}");
        }
    }
}

#[test]
fn type_enum_and_const_apply_to_every_value() {
    let all = || vec![json!("1"), json!(1), json!(1.5), json!(true), json!([1])];
    let all_but = |index: usize| {
        let mut values = [all(), vec![json!(null), json!({})]].concat();
        values.remove(index);
        values
    };
    check_cases(vec![
        (json!({ "type": "string" }), vec![json!(""), json!("1")], all_but(0), "of type string"),
        (json!({ "type": "boolean" }), vec![json!(false)], all_but(3), "of type boolean"),
        (json!({ "type": "array" }), vec![json!([])], all_but(4), "of type array"),
        (json!({ "type": "number" }), vec![json!(1), json!(-1.5)], vec![json!("1")], "number"),
        (
            json!({ "type": "integer" }),
            vec![json!(1), json!(1.0), json!(-0.0), json!(u64::MAX), json!(1e300)],
            vec![json!(1.5), json!("1"), json!(true), json!(1e-300)],
            "of type integer",
        ),
        (
            json!({ "type": ["array", "string"] }),
            vec![json!("a"), json!(["a"])],
            vec![json!(1), json!(null)],
            "of type array or string",
        ),
        (
            json!({ "enum": ["one", 2, null, [1], {"a": 1}] }),
            vec![json!("one"), json!(2), json!(2.0), json!(null), json!([1.0]), json!({"a": 1})],
            vec![json!("One"), json!("2"), json!(3), json!([]), json!({"a": 1, "b": 1})],
            r#"it must be one of "one", 2, null, [1], {"a":1}"#,
        ),
        (json!({ "enum": [] }), vec![], all(), "one of"),
        (
            json!({ "const": 9_007_199_254_740_993_u64 }),
            vec![json!(9_007_199_254_740_993_u64)],
            vec![json!(9_007_199_254_740_992_u64), json!(9_007_199_254_740_992.0)],
            "it must be 9007199254740993",
        ),
    ]);
}

#[test]
fn string_keywords_count_characters_and_match_a_pattern_anywhere() {
    let with_keyword = |keywords: Value| {
        let mut schema = json!({ "type": ["string", "integer"] });
        schema.as_object_mut().unwrap().extend(keywords.as_object().unwrap().clone());
        schema
    };
    check_cases(vec![
        (
            with_keyword(json!({ "minLength": 2 })),
            vec![json!("ab"), json!("üü"), json!("🦀🦀"), json!(1)],
            vec![json!(""), json!("ü"), json!("🦀")],
            "at least 2 characters",
        ),
        (
            with_keyword(json!({ "maxLength": 2.0 })),
            vec![json!(""), json!("🦀🦀"), json!(123)],
            vec![json!("abc"), json!("e\u{301}e")],
            "at most 2 characters",
        ),
        (
            with_keyword(json!({ "pattern": "b+" })),
            vec![json!("abc"), json!("b"), json!(1)],
            vec![json!(""), json!("ac"), json!("B")],
            "match the pattern b+",
        ),
        (
            with_keyword(json!({ "pattern": "^[a-z]$" })),
            vec![json!("a")],
            vec![json!("ab"), json!("a\n"), json!("ü")],
            "a-z",
        ),
        (
            with_keyword(json!({ "format": "uri" })),
            vec![json!("https://a"), json!(1)],
            vec![json!("nonsense"), json!("")],
            "https://tracker.example",
        ),
    ]);
}

#[test]
fn minimum_and_maximum_are_exact() {
    check_cases(vec![
        (
            json!({ "type": ["number", "string"], "minimum": 9_007_199_254_740_993_u64 }),
            vec![json!(9_007_199_254_740_993_u64), json!(u64::MAX), json!(1e300), json!("0")],
            vec![json!(9_007_199_254_740_992_u64), json!(0.5), json!(i64::MIN), json!(-1e300)],
            "it must be at least 9007199254740993",
        ),
        (
            json!({ "type": "number", "maximum": 0.5 }),
            vec![json!(0.5), json!(0), json!(-1), json!(-0.0)],
            vec![json!(0.500_000_000_000_000_1), json!(1), json!(u64::MAX)],
            "it must be at most 0.5",
        ),
        (json!({ "type": "number", "minimum": -0.0 }), vec![json!(0)], vec![json!(-1e-300)], "-0"),
    ]);
}

#[test]
fn keywords_of_arrays_check_the_items() {
    check_cases(vec![
        (
            json!({ "type": ["array", "string"], "items": { "type": "string" } }),
            vec![json!([]), json!(["a", ""]), json!("a")],
            vec![json!([1]), json!(["a", null]), json!([["a"]])],
            "each item must be of type string",
        ),
        (
            json!({ "type": "array", "items": { "enum": ["a", 1] } }),
            vec![json!(["a", 1.0, "a"])],
            vec![json!(["b"]), json!(["a", "1"])],
            r#"each item must be one of "a", 1"#,
        ),
        (
            json!({ "type": "array", "minItems": 1 }),
            vec![json!([null]), json!([1, 2])],
            vec![json!([])],
            "at least 1 items",
        ),
        (
            json!({ "type": "array", "maxItems": 1 }),
            vec![json!([]), json!([1])],
            vec![json!([1, 1])],
            "at most 1 items",
        ),
        (
            json!({ "type": "array", "uniqueItems": true }),
            vec![json!([]), json!([1, "1", true])],
            vec![json!([1, 1.0]), json!(["a", "b", "a"]), json!([{"a": 1}, {"a": 1.0}])],
            "twice",
        ),
        (json!({ "type": "array", "uniqueItems": false }), vec![json!([1, 1])], vec![], ""),
    ]);
}

#[test]
fn each_keyword_that_refuses_a_value_reports_one_error() {
    let schema = json!({
        "type": "string", "enum": ["long"], "minLength": 3, "pattern": "^[a-z]+$", "format": "ipv4"
    });
    assert_eq!(errors(&schema, &json!("A")).len(), 4);
    assert_eq!(errors(&schema, &json!(1)).len(), 2);
    let many = Value::from(vec![1; 100_000]);
    let items = json!({ "type": "array", "items": { "type": "string", "enum": ["a"] } });
    let all = errors(&items, &many);
    assert_eq!(all, [r#"each item must be one of "a"; each item must be of type string"#]);
}

#[test]
fn an_error_never_contains_the_value() {
    let schema = json!({
        "type": ["string", "number", "array"], "const": "a", "maxLength": 1, "pattern": "^x$",
        "format": "email", "maximum": 1, "items": { "type": "boolean" }, "uniqueItems": true
    });
    for value in [json!("confidential-7411"), json!(7411), json!([7411, 7411])] {
        let errors = errors(&schema, &value);
        assert!(errors.len() > 1 && !errors.join(" ").contains("7411"), "{errors:?}");
    }
}

#[test]
fn an_invalid_keyword_is_refused_with_its_position() {
    let string = |keyword: &str, value: Value| json!({ "type": "string", keyword: value });
    let mut cases = vec![
        (json!({ "minLength": 1 }), "the schema must have the keyword \"type\""),
        (json!({ "type": "object" }), "/type"),
        (json!({ "type": [] }), "/type"),
        (json!({ "type": ["string", 1] }), "/type"),
        (string("enum", json!("a")), "/enum"),
        (string("examples", json!("a")), "/examples"),
        (string("title", json!(1)), "/title"),
        (string("description", json!([])), "/description"),
        (string("format", json!("password")), "/format must be one of date, "),
        (string("pattern", json!(1)), "/pattern must be a string"),
        (string("minimum", json!("1")), "/minimum must be a number"),
        (string("maximum", json!(null)), "/maximum must be a number"),
        (string("items", json!(true)), "/items must be an object"),
        (string("items", json!({ "type": "array" })), "/items/type must not be \"array\""),
        (string("items", json!({})), "/items must have the keyword"),
    ];
    for keyword in ["minLength", "maxLength", "minItems", "maxItems"] {
        for wrong in [json!(-1), json!(1.5), json!("1"), json!(1e300), json!(null)] {
            cases.push((string(keyword, wrong), keyword));
        }
    }
    for (schema, error) in cases {
        let text = compile(&schema).expect_err(&schema.to_string()).to_string();
        assert!(text.contains(error), "{schema}: {text}");
    }
}

#[test]
fn a_pattern_that_is_too_large_or_not_linear_is_refused() {
    for (pattern, error) in [
        ("(((a{100}){100}){100})", "too large"),
        (r"\p{L}{5000}", "too large"),
        ("(", "not a valid regular expression"),
        ("a{2,1}", "not a valid regular expression"),
        (r"(a)\1", "back-references"),
        ("(?=a)", "look-around"),
    ] {
        let schema = json!({ "type": "string", "pattern": pattern });
        let text = compile(&schema).expect_err(pattern).to_string();
        assert!(text.contains(error) && text.len() < 200, "{pattern}: {text}");
    }
}

#[test]
fn patterns_have_the_meaning_of_ecma_262() {
    for (pattern, matching, not_matching) in [
        (r"^\d$", "1", "１"),
        (r"^\D$", "１", "1"),
        (r"^\w$", "a", "ü"),
        (r"^\W$", "ü", "a"),
        (r"^[\w.-]+$", "a.b-c", "a b"),
        (r"^[^\d]$", "a", "1"),
        (r"^\\d$", r"\d", r"\1"),
        (r"^[^[\]]+$", "ab", "a[b"),
        (r"^[a&&b~~]+$", "&~a", "c"),
        (r"^[a-z--9]+$", "b-.8", "A"),
        (r"^[--/]+$", "-./", "+"),
        (r"^[+--]+$", "+,-", "."),
        (r"^[^--/]$", "0", "."),
        (r"^[a-c-e]+$", "b-e", "d"),
        (r"^[\w-.]+$", "a-.", "/"),
        (r"^[\s-x]+$", " -x", "a"),
        (r"^[-a]-[a-]$", "---", "a-b"),
        (r"^[+-\d]+$", "+1-", "A"),
        (r"^[.-\w]+$", ".-a", "/"),
        (r"^[--\s]+$", "- -", "["),
        (r"^[^--\d]$", "a", "-"),
        (r"^[\w--c]+$", "a-c", "."),
        (r"^[\s-a-c]+$", " -ac", "b"),
        (r"^[+-\d-x]+$", "+1-x", "w"),
        (r"^[\x00-\x1f--a]+$", "\x01./Z", "b"),
        (r"^[\u{61}-\u{63}-e]+$", "ab-e", "d"),
        (r"^a/b\/c$", "a/b/c", "a"),
        (r"^[\u00e0-\u00ff]$", "ü", "u"),
        ("^.$", "🦀", "\n"),
    ] {
        let rules = compile(&json!({ "type": "string", "pattern": pattern })).unwrap();
        assert!(rules.allows(&json!(matching)), "{pattern} {matching}");
        assert!(!rules.allows(&json!(not_matching)), "{pattern} {not_matching}");
    }
}
