//! Address, method and headers of a guest's request, and the redirect that answers it (a line
//! `=>: 302 LOCATION` among the headers), under connections of several kinds. Nothing is sent.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::{HeaderMap, Method};
use jackfield::connector::Access;
use jackfield::domain::{
    Connection, ConnectionId, Grants, Origin, SecretGrant, SecretPlace, Settings,
};
use jackfield::fuzz::{Leaving, guest_request, placeholder};
use jackfield::secret::Secret;
use jackfield_fuzz::Message;
use libfuzzer_sys::fuzz_target;
use url::Url;
use uuid::Uuid;

const TRACKER: &str = "https://tracker.example";
const LOCAL: &str = "http://127.0.0.1:3000";
const SIX: &str = "http://[2001:db9::1]:8080";

/// A guest never sets these; the host alone says where a request goes, how it is framed, as whom.
const HOSTS: [&str; 10] = [
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

/// A connection, and for each secret its value and the origin that may have it.
struct Case {
    access: Access,
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
                ("p", "value-of-a-placeholder-4", TRACKER, SecretPlace::Placeholder),
            ],
        ),
        case(
            &[SIX, TRACKER],
            vec![("b", "value-as-a-basic-5", SIX, SecretPlace::Basic { user: None })],
        ),
    ]
});

fuzz_target!(|input: &[u8]| {
    let Some(mut message) = Message::read(input) else { return };
    let Ok(method) = message.method.parse::<Method>() else { return };
    let redirect = message.take("=>");
    let redirect = redirect.as_deref().and_then(|text| text.split_once(' '));
    let redirect = redirect.and_then(|(status, to)| Some((status.parse().ok()?, to)));
    let redirect = redirect.filter(|(status, _)| (300..400).contains(status));
    for case in &*CASES {
        let filled =
            |text: &str| text.replace("{p}", placeholder(&case.access, "p").unwrap_or("{p}"));
        let headers = message.headers.iter().map(|(name, value)| (name.clone(), filled(value)));
        let body = filled(&String::from_utf8_lossy(message.body)).into();
        let (url, headers) = (filled(&message.address), headers.collect());
        let admitted = guest_request(&case.access, method.clone(), &url, headers, body, redirect);
        match admitted {
            Ok(admitted) => {
                goes_where_it_may(case, &admitted.bare);
                goes_where_it_may(case, &admitted.whole);
                is_the_guests(&admitted.bare.headers);
                assert_eq!(admitted.bare.origin, admitted.whole.origin);
                let known = String::from_utf8_lossy(input);
                tells_no_secret(case, &known, &admitted.bare, None);
                tells_no_secret(case, &known, &admitted.whole, Some(&admitted.whole.origin));
            }
            Err(words) => assert!(!words.is_empty()),
        }
    }
});

/// The origin is granted, and the address names it however it is read again.
fn goes_where_it_may(case: &Case, leaving: &Leaving) {
    let Leaving { method, origin, url, path, headers, .. } = leaving;
    assert!(case.access.connection.grants.origins.contains(origin), "{origin} is not granted");
    assert_eq!(Origin::of(url).as_ref(), Ok(origin));
    assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(url));
    assert!(METHODS.contains(&method.as_str()), "{method}");
    let path = path.to_string();
    assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
    let whole = Url::parse(&format!("{origin}{path}")).expect("an address");
    assert_eq!(Origin::of(&whole).as_ref(), Ok(origin), "{path}");
    for (name, value) in headers {
        let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        assert!(!value.as_bytes().iter().any(breaks), "{name}: {value:?}");
    }
}

fn is_the_guests(headers: &HeaderMap) {
    for name in headers.keys() {
        let name = name.as_str();
        let hosts =
            HOSTS.contains(&name) || name.starts_with("proxy-") || name.starts_with("jackfield-");
        assert!(!hosts, "the guest set {name}");
    }
    assert!(headers.len() <= 64);
}

/// A secret that the input does not hold stands in no request but those to its own origin.
fn tells_no_secret(case: &Case, input: &str, leaving: &Leaving, to: Option<&Origin>) {
    for (value, origin) in case.secrets.iter().filter(|(value, _)| !input.contains(value)) {
        if to == Some(origin) {
            continue;
        }
        assert!(!leaving.url.as_str().contains(value));
        assert!(!String::from_utf8_lossy(&leaving.body).contains(value));
        for header in leaving.headers.values() {
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
    let mut told = Vec::new();
    for (name, value, at, place) in secrets {
        grants.secrets.insert(name.to_owned(), SecretGrant { origin: origin(at), place });
        values.insert(name.to_owned(), Secret::new(value.to_owned()));
        told.push((value, origin(at)));
    }
    Case { access: Access::new(connection(grants), values), secrets: told }
}

fn connection(grants: Grants) -> Connection {
    Connection {
        id: ConnectionId(Uuid::nil()),
        name: "fuzzed".to_owned(),
        connector: "fuzzed".parse().expect("a name"),
        settings: Settings::new(),
        secrets_set: Vec::new(),
        grants,
        accepted_sha256: None,
        project: None,
        allow_private: false,
        paused: false,
        token_tail: String::new(),
        created_at: jiff::Timestamp::UNIX_EPOCH,
        last_success_at: None,
        last_error: None,
    }
}
