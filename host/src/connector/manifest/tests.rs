//! The rules of manifests, on small schemas; no guest runs here.

use serde_json::json;

use super::*;
use crate::domain::{SecretPlace, Settings};

fn raw(settings: &Value) -> RawManifest {
    RawManifest {
        name: "Redmine".to_owned(),
        version: "1.0.0".to_owned(),
        summary: "Issues in Redmine".to_owned(),
        homepage: None,
        settings: settings.to_string(),
        settle_seconds: 0,
    }
}

fn redmine() -> Value {
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

fn settings(value: Value) -> Settings {
    value.as_object().cloned().unwrap()
}

#[test]
fn good_settings_pass_and_say_what_they_grant() {
    let manifest = Manifest::read(&raw(&redmine())).unwrap();
    let given = settings(json!({ "url": "https://r.example/x", "project": "web" }));
    assert_eq!(manifest.validate(&given, &["api-key".to_owned()], |_| true), Ok(()));
    let grants = manifest.demands(&given).unwrap();
    assert_eq!(grants.origins, ["https://r.example".parse().unwrap()]);
    assert!(grants.fixed.is_empty());
    let place = &grants.secrets["api-key"].place;
    assert_eq!(*place, SecretPlace::Header { name: "x-api-key".to_owned(), prefix: String::new() });
    assert!(covers(&grants, &grants).is_empty());
    assert_eq!(covers(&crate::domain::Grants::default(), &grants).len(), 2);
}

#[test]
fn each_bad_setting_is_named() {
    let manifest = Manifest::read(&raw(&redmine())).unwrap();
    let given = settings(json!({
        "url": "ftp://r.example", "projct": "web", "mode": "three", "api-key": "x"
    }));
    let problems = manifest.validate(&given, &["token".to_owned()], |_| true).unwrap_err();
    let why = |name: &str| {
        problems.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("{name}")).why.clone()
    };
    assert!(why("url").contains("only http and https"), "{problems:?}");
    assert!(why("projct").contains("did you mean `project`"), "{problems:?}");
    assert!(why("project").contains("missing"), "{problems:?}");
    assert!(why("mode").contains("one"), "{problems:?}");
    assert!(why("api-key").contains("secret"), "{problems:?}");
    assert!(why("token").contains("no such secret"), "{problems:?}");
}

#[test]
fn a_fixed_origin_is_granted_as_fixed() {
    let schema = json!({ "type": "object", "properties": {
        "api": { "type": "string", "const": "https://api.example", "jackfield:origin": true } } });
    let grants = Manifest::read(&raw(&schema)).unwrap().demands(&Settings::new()).unwrap();
    assert_eq!(grants.fixed, grants.origins);
    assert_eq!(grants.fixed.len(), 1);
}

/// A person who enters the one value that a schema allows has not chosen it.
#[test]
fn an_address_that_the_connector_lists_is_fixed_whoever_enters_it() {
    let address = json!("http://127.0.0.1:9");
    for (word, value) in [("const", address.clone()), ("enum", json!([address]))] {
        let mut schema = json!({ "type": "object", "properties": {
            "url": { "type": "string", "jackfield:origin": true },
            "api": { "type": "string", "jackfield:origin": true },
            "token": { "type": "string" }, "id": { "type": "string" },
            "key": { "type": "string", "writeOnly": true, "jackfield:place": {
                "in": "client-credentials", "origin": "url", "tokenUrl": "token", "clientId": "id" } } } });
        let given = |name: &str| (name.to_owned(), address.clone());
        let mut settings: Settings = ["api", "token", "id"].map(given).into_iter().collect();
        settings.insert("url".to_owned(), "https://t.example".into());
        let fixed = |schema: &Value| {
            let grants = Manifest::read(&raw(schema)).unwrap().demands(&settings).unwrap();
            grants.fixed.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(fixed(&schema).is_empty(), "what a person wrote is theirs");
        schema["properties"]["api"][word] = value.clone();
        assert_eq!(fixed(&schema), ["http://127.0.0.1:9"], "{word}");
        schema["properties"]["api"].as_object_mut().unwrap().remove(word);
        schema["properties"]["token"][word] = value;
        assert_eq!(fixed(&schema), ["http://127.0.0.1:9"], "{word} of the token's address");
    }
}

#[test]
fn places_that_differ_read_differently() {
    let header =
        |prefix: &str| SecretPlace::Header { name: "x-key".to_owned(), prefix: prefix.to_owned() };
    let client = |scope: Option<&str>| SecretPlace::ClientCredentials {
        token_url: "https://t.example/token".parse().unwrap(),
        client_id: "bot".to_owned(),
        scope: scope.map(str::to_owned),
    };
    let all = [header(""), header("Token "), client(None), client(Some("all"))];
    let words: std::collections::BTreeSet<_> = all.iter().map(super::words).collect();
    assert_eq!(words.len(), all.len(), "{words:?}");
}

#[test]
fn a_schema_uses_only_known_words() {
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
    ];
    for (schema, word) in refused {
        let error = Manifest::read(&raw(&schema)).expect_err(&schema.to_string());
        assert!(error.0.contains(word), "{schema}: {error}");
    }
}

#[test]
fn texts_are_bounded() {
    let schema = redmine();
    for change in [
        (|raw| raw.name = "a".repeat(101)) as fn(&mut RawManifest),
        |raw| raw.name = " ".to_owned(),
        |raw| raw.summary = "a\nb".to_owned(),
        |raw| raw.version = "1".to_owned(),
        |raw| raw.homepage = Some("javascript:x".to_owned()),
        |raw| raw.settings = " ".repeat(64 * 1024 + 1),
        |raw| raw.settings = "[".repeat(10_000),
        |raw| raw.settle_seconds = u32::MAX,
    ] {
        let mut manifest = raw(&schema);
        change(&mut manifest);
        assert!(Manifest::read(&manifest).is_err(), "{manifest:?}");
    }
}
