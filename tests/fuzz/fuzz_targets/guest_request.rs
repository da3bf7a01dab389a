//! The URL, method, headers and body of a guest's request, and a redirect that answers it (a line
//! `=>: 302 LOCATION` among the headers), with several kinds of connections. Nothing is sent.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::{HeaderMap, Method};
use jackfield::domain::{Connection, ConnectionId, Grants, Origin, SecretGrant, SecretPlace};
use jackfield::egress::ActiveConnection;
use jackfield::fuzz::{BASE_PATH, SentRequest, guest_request, placeholder};
use jackfield::secret::Secret;
use jackfield_fuzz::Message;
use libfuzzer_sys::fuzz_target;
use url::Url;
use uuid::Uuid;

const TRACKER: &str = "https://tracker.example";
const LOCAL: &str = "http://127.0.0.1:3000";
const IPV6: &str = "http://[2001:db9::1]:8080";

/// Headers that only the host sets: they decide where a request is sent, how it is framed, and
/// with which credentials.
const RESERVED_HEADERS: [&str; 10] = [
    "authorization",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// A connection, and for each secret its value and the only origin that may receive it.
struct Case {
    active: ActiveConnection,
    secrets: Vec<(&'static str, Origin)>,
}

static CASES: LazyLock<[Case; 3]> = LazyLock::new(|| {
    let header = SecretPlace::Header { name: "x-api-key".to_owned(), prefix: String::new() };
    let query = SecretPlace::Query { name: "key".to_owned() };
    [
        case(&[LOCAL], vec![("k", "value-in-a-header-1", LOCAL, header)]),
        case(
            &[TRACKER, LOCAL],
            vec![
                ("b", "value-as-a-bearer-2", TRACKER, SecretPlace::Bearer),
                ("q", "value-in-a-query-3", LOCAL, query),
                (
                    "p",
                    "value-of-a-placeholder-4",
                    TRACKER,
                    SecretPlace::Json { pointer: "/p".to_owned() },
                ),
            ],
        ),
        case(
            &[IPV6, TRACKER],
            vec![("b", "value-as-a-basic-5", IPV6, SecretPlace::Basic { user: None })],
        ),
    ]
});

fuzz_target!(|input: &[u8]| {
    let Some(mut message) = Message::read(input) else { return };
    let Ok(method) = message.method.parse::<Method>() else { return };
    let redirect = message.remove_header("=>");
    let redirect = redirect.as_deref().and_then(|text| text.split_once(' '));
    let redirect = redirect.and_then(|(status, to)| Some((status.parse().ok()?, to)));
    let redirect = redirect.filter(|(status, _)| (300..400).contains(status));
    for case in &*CASES {
        let fill =
            |text: &str| text.replace("{p}", placeholder(&case.active, "p").unwrap_or("{p}"));
        let headers = message.headers.iter().map(|(name, value)| (name.clone(), fill(value)));
        let body = fill(&String::from_utf8_lossy(message.body)).into();
        let (url, headers) = (fill(&message.address), headers.collect());
        match guest_request(&case.active, method.clone(), &url, headers, body, redirect) {
            Ok(authorized) => {
                let (without, with) = (&authorized.without_secrets, &authorized.with_secrets);
                check_target(case, without);
                check_target(case, with);
                if url.starts_with('/') && redirect.is_none() {
                    let path = without.url.path();
                    assert!(path.starts_with(&format!("{BASE_PATH}/")), "{url} is {path}");
                }
                check_guest_headers(&without.headers);
                assert_eq!(without.origin, with.origin);
                let input = String::from_utf8_lossy(input);
                check_secrets(case, &input, without, None);
                check_secrets(case, &input, with, Some(&with.origin));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});

/// The origin is granted, and the URL names it, also when it is written and parsed again.
fn check_target(case: &Case, request: &SentRequest) {
    let SentRequest { method, origin, url, path, headers, .. } = request;
    assert!(case.active.connection.grants.origins.contains(origin), "{origin} is not granted");
    assert_eq!(Origin::of(url).as_ref(), Ok(origin));
    assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(url));
    assert!(METHODS.contains(&method.as_str()), "{method}");
    let path = path.to_string();
    assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
    let sent_url = Url::parse(&format!("{origin}{path}")).expect("a URL");
    assert_eq!(Origin::of(&sent_url).as_ref(), Ok(origin), "{path}");
    for (name, value) in headers {
        let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        assert!(!value.as_bytes().iter().any(breaks), "{name}: {value:?}");
    }
}

fn check_guest_headers(headers: &HeaderMap) {
    for name in headers.keys() {
        let name = name.as_str();
        let is_reserved = RESERVED_HEADERS.contains(&name)
            || name.starts_with("proxy-")
            || name.starts_with("jackfield-");
        assert!(!is_reserved, "the guest set {name}");
    }
    assert!(headers.len() <= 64);
}

/// Unless the input contains a secret itself, the secret is only in requests to its own origin.
fn check_secrets(case: &Case, input: &str, request: &SentRequest, to: Option<&Origin>) {
    for (value, origin) in case.secrets.iter().filter(|(value, _)| !input.contains(value)) {
        if to == Some(origin) {
            continue;
        }
        assert!(!request.url.as_str().contains(value));
        assert!(!String::from_utf8_lossy(&request.body).contains(value));
        for header in request.headers.values() {
            assert!(!String::from_utf8_lossy(header.as_bytes()).contains(value));
        }
    }
}

fn case(
    origins: &[&str],
    secrets: Vec<(&'static str, &'static str, &'static str, SecretPlace)>,
) -> Case {
    let origin = |text: &str| text.parse::<Origin>().expect("an origin");
    let mut grants =
        Grants { origins: origins.iter().map(|text| origin(text)).collect(), ..Grants::default() };
    let mut values = BTreeMap::new();
    let mut expected = Vec::new();
    for (name, value, at, place) in secrets {
        grants.secrets.insert(name.to_owned(), SecretGrant { origin: origin(at), place });
        values.insert(name.to_owned(), Secret::new(value.to_owned()));
        expected.push((value, origin(at)));
    }
    let id = ConnectionId(Uuid::nil());
    let connector = "fuzzed".parse().expect("a name");
    let created_at = jiff::Timestamp::UNIX_EPOCH;
    let connection =
        Connection { grants, ..Connection::new(id, "fuzzed".to_owned(), connector, created_at) };
    Case { active: ActiveConnection::new(connection, values), secrets: expected }
}
