//! Fuzzes the URL, method, headers and body of a guest's request, for several kinds of connections.
//! A header line `=>: 302 LOCATION` in the input is not a header: it is a redirect that answers the
//! request. `{p}` in the input stands for the placeholder of the secret `p`. Nothing is sent.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::{HeaderMap, Method};
use jackfield::domain::{Connection, ConnectionId, Grants, Origin, SecretGrant, SecretPlace};
use jackfield::egress::ActiveConnection;
use jackfield::fuzz::{BASE_PATH, SentRequest, authorize_guest_request, secret_placeholder};
use jackfield::secret::Secret;
use jackfield_fuzz::InputRequest;
use libfuzzer_sys::fuzz_target;
use url::Url;
use uuid::Uuid;

const TRACKER_ORIGIN: &str = "https://tracker.example";
const LOCAL_ORIGIN: &str = "http://127.0.0.1:3000";
const IPV6_ORIGIN: &str = "http://[2001:db9::1]:8080";

/// Headers that only the host may set. They determine where a request is sent, how it is framed,
/// and which credentials it has.
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

struct ConnectionCase {
    active: ActiveConnection,
    /// The value of each secret, and the only origin that may receive the secret.
    secrets: Vec<(&'static str, Origin)>,
}

static CASES: LazyLock<[ConnectionCase; 3]> = LazyLock::new(|| {
    let header = SecretPlace::Header { name: "x-api-key".to_owned(), prefix: String::new() };
    let query = SecretPlace::Query { name: "key".to_owned() };
    [
        connection_case(&[LOCAL_ORIGIN], vec![("k", "value-in-a-header-1", LOCAL_ORIGIN, header)]),
        connection_case(
            &[TRACKER_ORIGIN, LOCAL_ORIGIN],
            vec![
                ("b", "value-as-a-bearer-2", TRACKER_ORIGIN, SecretPlace::Bearer),
                ("q", "value-in-a-query-3", LOCAL_ORIGIN, query),
                (
                    "p",
                    "value-of-a-placeholder-4",
                    TRACKER_ORIGIN,
                    SecretPlace::Json { pointer: "/p".to_owned() },
                ),
            ],
        ),
        connection_case(
            &[IPV6_ORIGIN, TRACKER_ORIGIN],
            vec![("b", "value-as-a-basic-5", IPV6_ORIGIN, SecretPlace::Basic { user: None })],
        ),
    ]
});

fuzz_target!(|input: &[u8]| {
    let Some(mut message) = InputRequest::parse(input) else { return };
    let Ok(method) = message.method.parse::<Method>() else { return };
    let redirect = message.remove_header("=>");
    let redirect = redirect.as_deref().and_then(|text| text.split_once(' '));
    let redirect = redirect.and_then(|(status, to)| Some((status.parse().ok()?, to)));
    let redirect = redirect.filter(|(status, _)| (300..400).contains(status));
    for case in &*CASES {
        let fill = |text: &str| {
            text.replace("{p}", secret_placeholder(&case.active, "p").unwrap_or("{p}"))
        };
        let headers = message.headers.iter().map(|(name, value)| (name.clone(), fill(value)));
        let body = fill(&String::from_utf8_lossy(message.body)).into();
        let (url, headers) = (fill(&message.address), headers.collect());
        match authorize_guest_request(&case.active, method.clone(), &url, headers, body, redirect) {
            Ok(authorized) => {
                let (without, with) = (&authorized.without_secrets, &authorized.with_secrets);
                assert_target_granted(case, without);
                assert_target_granted(case, with);
                if url.starts_with('/') && redirect.is_none() {
                    let path = without.url.path();
                    assert!(path.starts_with(&format!("{BASE_PATH}/")), "{url} is {path}");
                }
                assert_no_reserved_header(&without.headers);
                assert_eq!(without.origin, with.origin);
                let input = String::from_utf8_lossy(input);
                assert_no_foreign_secret(case, &input, without, None);
                assert_no_foreign_secret(case, &input, with, Some(&with.origin));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});

/// Asserts that the request goes to a granted origin, also after its URL was written and parsed
/// again.
fn assert_target_granted(case: &ConnectionCase, request: &SentRequest) {
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

fn assert_no_reserved_header(headers: &HeaderMap) {
    for name in headers.keys() {
        let name = name.as_str();
        let is_reserved = RESERVED_HEADERS.contains(&name)
            || name.starts_with("proxy-")
            || name.starts_with("jackfield-");
        assert!(!is_reserved, "the guest set {name}");
    }
    assert!(headers.len() <= 64);
}

/// Asserts that a request to the origin `to` contains only secrets that this origin may receive. If
/// `to` is `None`, the request may contain no secret. Skips secrets that the input itself contains.
fn assert_no_foreign_secret(
    case: &ConnectionCase,
    input: &str,
    request: &SentRequest,
    to: Option<&Origin>,
) {
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

/// Each secret has its name, its value, its origin and its place in a request.
fn connection_case(
    origins: &[&str],
    secrets: Vec<(&'static str, &'static str, &'static str, SecretPlace)>,
) -> ConnectionCase {
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
    ConnectionCase { active: ActiveConnection::new(connection, values), secrets: expected }
}
