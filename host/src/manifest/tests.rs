//! Tests which manifests with small schemas are accepted, and which grants they need.

use serde_json::json;

use super::*;
use crate::domain::{SecretPlace, Settings};

fn raw_manifest(settings: &Value) -> RawManifest {
    RawManifest {
        name: "Redmine".to_owned(),
        version: "1.0.0".to_owned(),
        summary: "Issues in Redmine".to_owned(),
        homepage: None,
        settings: settings.to_string(),
        index_delay_seconds: Some(0),
    }
}

fn redmine_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "url": { "type": "string", "format": "uri", "jackfield:origin": true },
            "project": { "type": "string", "title": "Project", "pattern": "^[a-z]+$" },
            "mode": { "type": "string", "enum": ["one", "two"] },
            "api-key": { "type": "string", "writeOnly": true,
                         "jackfield:place": { "in": "header", "name": "X-Api-Key" } }
        },
        "required": ["url", "project", "api-key"],
        "additionalProperties": false
    })
}

fn settings_object(value: Value) -> Settings {
    value.as_object().cloned().unwrap()
}

#[test]
fn valid_settings_are_accepted_and_determine_the_grants() {
    let manifest = Manifest::read(&raw_manifest(&redmine_schema())).unwrap();
    let entered = settings_object(json!({ "url": "https://r.example/x", "project": "web" }));
    assert_eq!(manifest.validate(&entered, &["api-key".to_owned()], |_| true), Ok(()));
    let grants = manifest.required_grants(&entered).unwrap();
    assert_eq!(grants.origins, ["https://r.example".parse().unwrap()]);
    assert!(grants.fixed_origins.is_empty());
    let place = &grants.secrets["api-key"].place;
    assert_eq!(*place, SecretPlace::Header { name: "x-api-key".to_owned(), prefix: String::new() });
    assert!(missing_grants(&grants, &grants).is_empty());
    assert_eq!(missing_grants(&crate::domain::Grants::default(), &grants).len(), 2);
}

#[test]
fn each_wrong_setting_is_reported() {
    let manifest = Manifest::read(&raw_manifest(&redmine_schema())).unwrap();
    let entered = settings_object(json!({
        "url": "ftp://r.example", "projct": "web", "mode": "three", "api-key": "x"
    }));
    let errors = manifest.validate(&entered, &["token".to_owned()], |_| true).unwrap_err();
    let why = |name: &str| {
        errors
            .iter()
            .find(|error| error.name == name)
            .unwrap_or_else(|| panic!("{name}"))
            .why
            .clone()
    };
    assert!(why("url").contains("http or https"), "{errors:?}");
    assert!(why("projct").contains("did you mean `project`"), "{errors:?}");
    assert!(why("project").contains("missing"), "{errors:?}");
    assert!(why("project").contains("`--set project=VALUE`"), "{errors:?}");
    assert!(why("projct").contains("its secrets are api-key"), "{errors:?}");
    assert!(why("mode").contains("one"), "{errors:?}");
    assert!(why("api-key").contains("`--secret api-key`"), "{errors:?}");
    assert!(why("token").contains("no such secret"), "{errors:?}");
}

#[test]
fn an_origin_with_a_const_is_fixed() {
    let schema = json!({ "type": "object", "properties": {
        "api": { "type": "string", "const": "https://api.example", "jackfield:origin": true } } });
    let grants =
        Manifest::read(&raw_manifest(&schema)).unwrap().required_grants(&Settings::new()).unwrap();
    assert_eq!(grants.fixed_origins, grants.origins);
    assert_eq!(grants.fixed_origins.len(), 1);
}

#[test]
fn a_listed_origin_is_fixed_even_if_a_person_enters_it() {
    let address = json!("http://127.0.0.1:9");
    for (keyword, value) in [("const", address.clone()), ("enum", json!([address]))] {
        let mut schema = json!({ "type": "object", "properties": {
            "url": { "type": "string", "jackfield:origin": true },
            "api": { "type": "string", "jackfield:origin": true },
            "token": { "type": "string" }, "id": { "type": "string" },
            "key": { "type": "string", "writeOnly": true, "jackfield:place": {
                "in": "client-credentials", "origin": "url", "tokenUrl": "token", "clientId": "id" } } } });
        let entered = |name: &str| (name.to_owned(), address.clone());
        let mut settings: Settings = ["api", "token", "id"].map(entered).into_iter().collect();
        settings.insert("url".to_owned(), "https://t.example".into());
        let fixed = |schema: &Value| {
            let grants =
                Manifest::read(&raw_manifest(schema)).unwrap().required_grants(&settings).unwrap();
            grants.fixed_origins.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(fixed(&schema).is_empty(), "a person chose this address");
        schema["properties"]["api"][keyword] = value.clone();
        assert_eq!(fixed(&schema), ["http://127.0.0.1:9"], "{keyword}");
        schema["properties"]["api"].as_object_mut().unwrap().remove(keyword);
        schema["properties"]["token"][keyword] = value;
        assert_eq!(fixed(&schema), ["http://127.0.0.1:9"], "{keyword} of the token URL");
    }
}

#[test]
fn a_place_in_a_body_is_read_and_a_wrong_pointer_is_refused() {
    let place_of = |place: Value| {
        let mut schema = redmine_schema();
        schema["properties"]["api-key"]["jackfield:place"] = place;
        let manifest = Manifest::read(&raw_manifest(&schema)).map_err(|error| error.to_string())?;
        let entered = settings_object(json!({ "url": "https://r.example", "project": "web" }));
        Ok::<_, String>(
            manifest.required_grants(&entered).unwrap().secrets["api-key"].place.clone(),
        )
    };
    let json = |pointer: &str| place_of(json!({ "in": "json", "pointer": pointer }));
    assert_eq!(json("/a~1b/c"), Ok(SecretPlace::Json { pointer: "/a~1b/c".to_owned() }));
    for wrong in ["password", "/a~b", "/a~"] {
        assert!(json(wrong).unwrap_err().contains("JSON pointer"), "{wrong}");
    }
    let form = place_of(json!({ "in": "form", "name": "password" }));
    assert_eq!(form, Ok(SecretPlace::Form { name: "password".to_owned() }));
}

#[test]
fn different_places_have_different_descriptions() {
    let header =
        |prefix: &str| SecretPlace::Header { name: "x-key".to_owned(), prefix: prefix.to_owned() };
    let client = |scope: Option<&str>| SecretPlace::ClientCredentials {
        token_url: "https://t.example/token".parse().unwrap(),
        client_id: "bot".to_owned(),
        scope: scope.map(str::to_owned),
    };
    let all = [header(""), header("Token "), client(None), client(Some("all"))];
    let phrases: std::collections::BTreeSet<_> = all.iter().map(describe_place).collect();
    assert_eq!(phrases.len(), all.len(), "{phrases:?}");
    assert!(phrases.contains("in the header x-key"), "{phrases:?}");
}

#[test]
fn a_schema_with_an_unsupported_keyword_is_refused() {
    let property = |property: Value| json!({ "type": "object", "properties": { "a": property } });
    let key =
        |place: Value| json!({ "type": "string", "writeOnly": true, "jackfield:place": place });
    let refused = [
        (json!([]), "object"),
        (json!({ "type": "string" }), "object"),
        (json!({ "type": "object", "allOf": [] }), "allOf"),
        (json!({ "type": "object", "required": ["b"] }), "\"b\""),
        (json!({ "type": "object", "properties": { "A b": { "type": "string" } } }), "A b"),
        (property(json!({ "$ref": "#" })), "$ref"),
        (property(json!({ "type": "object" })), "type"),
        (property(json!({ "type": "string", "pattern": "(" })), "JSON Schema"),
        (property(json!({ "type": "string", "pattern": "(((a{100}){100}){100})" })), "JSON Schema"),
        (property(json!({ "type": "array", "items": { "$ref": "#" } })), "$ref"),
        (property(key(json!({ "in": "body" }))), "client-credentials"),
        (property(key(json!({ "in": "bearer" }))), "jackfield:origin"),
        (property(key(json!({ "in": "header", "name": "Host" }))), "host"),
        (property(json!({ "type": "string", "writeOnly": true })), "jackfield:place"),
        (property(json!({ "type": "string", "format": "password" })), "/properties/a/format"),
        (property(json!({ "type": "integer", "minimum": "1" })), "/properties/a/minimum"),
        (property(json!({ "type": "string", "title": 1 })), "/properties/a/title"),
        (property(json!({ "type": "array", "uniqueItems": 1 })), "/properties/a/uniqueItems"),
        (property(json!({ "type": "array", "items": { "type": "array" } })), "items/type"),
        (property(json!({ "title": "A" })), "\"type\""),
    ];
    for (schema, word) in refused {
        let error = Manifest::read(&raw_manifest(&schema)).expect_err(&schema.to_string());
        assert!(error.to_string().contains(word), "{schema}: {error}");
    }
}

#[test]
fn fields_that_are_too_long_or_malformed_are_refused() {
    let schema = redmine_schema();
    for change in [
        (|raw| raw.name = "a".repeat(101)) as fn(&mut RawManifest),
        |raw| raw.name = " ".to_owned(),
        |raw| raw.summary = "a\nb".to_owned(),
        |raw| raw.version = "1".to_owned(),
        |raw| raw.homepage = Some("javascript:x".to_owned()),
        |raw| raw.settings = " ".repeat(64 * 1024 + 1),
        |raw| raw.settings = "[".repeat(10_000),
        |raw| raw.index_delay_seconds = Some(u32::MAX),
    ] {
        let mut manifest = raw_manifest(&schema);
        change(&mut manifest);
        assert!(Manifest::read(&manifest).is_err(), "{manifest:?}");
    }
}

#[test]
fn an_error_contains_the_position_in_the_schema() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "text" } } });
    let error = Manifest::read(&raw_manifest(&schema)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the manifest's `settings` are not a supported JSON Schema: /properties/a/type must be one \
         or more of string, number, integer, boolean, array"
    );
    let error = Manifest::read(&raw_manifest(&json!(7))).unwrap_err();
    assert!(error.to_string().contains("JSON Schema: the schema must be an object"), "{error}");
}

#[test]
fn an_invalid_origin_is_reported_once_and_without_its_password() {
    let manifest = Manifest::read(&raw_manifest(&redmine_schema())).unwrap();
    let entered =
        settings_object(json!({ "url": "https://user:hidden@r.example", "project": "web" }));
    let errors = manifest.validate(&entered, &["api-key".to_owned()], |_| true).unwrap_err();
    let url_errors = errors.iter().filter(|error| error.name == "url");
    assert_eq!(url_errors.count(), 1, "{errors:?}");
    assert!(!format!("{errors:?}").contains("hidden"), "{errors:?}");
}

#[test]
fn the_number_and_length_of_errors_are_limited() {
    let names = (0..100).map(|n| format!("{n:0>64}"));
    let choices = ["x".repeat(3_000), "ü".repeat(3_000)];
    let property = json!({ "enum": choices, "title": "T".repeat(400) });
    let properties: serde_json::Map<_, _> = names
        .enumerate()
        .map(|(n, name)| (name, if n == 0 { property.clone() } else { json!({ "const": n }) }))
        .collect();
    let first = properties.keys().next().unwrap().clone();
    let required: Vec<_> = properties.keys().cloned().collect();
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    let manifest = Manifest::read(&raw_manifest(&schema)).unwrap();
    let unknown = |n| format!("unknown-{n}");
    let mut entered: Settings = (0..5_000).map(|n| (unknown(n), json!(1))).collect();
    entered.insert("y".repeat(1_000_000), json!(1));
    entered.insert(first, json!("neither"));
    let secrets: Vec<_> = (0..5_000).map(unknown).collect();
    for entered in [Settings::new(), entered] {
        let errors = manifest.validate(&entered, &secrets, |_| true).unwrap_err();
        assert_eq!(errors.len(), 100);
        for error in errors {
            assert!(error.why.chars().count() <= 1_001, "{}", error.name);
        }
    }
}

#[test]
fn a_refusal_of_a_schema_is_short() {
    let long = "\u{1b}".repeat(60_000);
    for schema in [
        json!({ "type": "object", &long: 1 }),
        json!({ "type": "object", "properties": { &long: {} } }),
        json!({ "type": "object", "properties": { "a": { "type": "string", &long: 1 } } }),
        json!({ "type": "object", "required": [long] }),
    ] {
        let raw = RawManifest { settings: schema.to_string(), ..raw_manifest(&json!({})) };
        let text = Manifest::read(&raw).unwrap_err().to_string();
        assert!(text.len() < 1_500 && !text.contains('\u{1b}'), "{} bytes", text.len());
    }
}
