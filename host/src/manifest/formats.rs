//! The supported values of the JSON Schema keyword `format`, each with its check. No check contacts
//! a server.

use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Debug)]
pub(super) struct Format {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) is_valid: fn(&str) -> bool,
}

/// A schema with another format is refused, because the host could not check it.
pub(super) const FORMATS: &[Format] = &[
    Format { name: "date", description: "a date such as 2026-01-31", is_valid: is_date },
    Format {
        name: "date-time",
        description: "a date and time such as 2026-01-31T12:00:00Z",
        is_valid: is_date_time,
    },
    Format {
        name: "email",
        description: "an e-mail address such as name@example.com",
        is_valid: is_email,
    },
    Format {
        name: "hostname",
        description: "a host name such as tracker.example",
        is_valid: is_hostname,
    },
    Format {
        name: "ipv4",
        description: "an IPv4 address such as 192.0.2.1",
        is_valid: |text| text.parse::<Ipv4Addr>().is_ok(),
    },
    Format {
        name: "ipv6",
        description: "an IPv6 address such as 2001:db8::1",
        is_valid: |text| text.parse::<Ipv6Addr>().is_ok(),
    },
    Format { name: "time", description: "a time such as 12:00:00Z", is_valid: is_time },
    Format { name: "uri", description: "a URL such as https://tracker.example", is_valid: is_uri },
    Format {
        name: "uuid",
        description: "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
        is_valid: is_uuid,
    },
];

/// `Url` alone would also accept spaces.
fn is_uri(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    text.bytes().all(is_allowed) && url::Url::parse(text).is_ok()
}

/// Only ASCII is accepted. Quoted names, as in `"a b"@example.com`, and IP addresses in brackets
/// are refused.
fn is_email(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let Some((name, host)) = text.rsplit_once('@') else { return false };
    let is_name = name.split('.').all(|part| !part.is_empty() && part.bytes().all(is_allowed));
    is_name && name.len() <= 64 && is_hostname(host)
}

fn is_hostname(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// `Uuid` alone would also accept other forms than the one with hyphens.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn is_date(text: &str) -> bool {
    has_shape(text, "0000-00-00") && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    text.split_once(['T', 't']).is_some_and(|(date, time)| is_date(date) && is_time(time))
}

/// jiff also accepts times that RFC 3339 does not allow, so the shape of the text is checked too.
fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked("00:00:00".len()) else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let is_zone = ["Z", "z", "+00:00", "-00:00"].into_iter().any(|shape| has_shape(zone, shape));
    has_shape(clock, "00:00:00")
        && is_zone
        && format!("2026-01-31T{text}").parse::<jiff::Timestamp>().is_ok()
}

/// In a shape, `0` stands for any digit.
fn has_shape(text: &str, shape: &str) -> bool {
    let matches =
        |(b, shape): (u8, u8)| if shape == b'0' { b.is_ascii_digit() } else { b == shape };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each format with valid texts and invalid texts.
    const CASES: [(&str, &[&str], &[&str]); 9] = [
        (
            "date",
            &["2026-01-31", "2024-02-29", "0001-12-31"],
            &[
                "2026-02-29",
                "2026-13-01",
                "2026-1-31",
                "20260131",
                "2026-01-31T",
                "２026-01-31",
                "",
            ],
        ),
        (
            "date-time",
            &["2026-01-31T12:00:00Z", "2026-01-31t12:00:00.5+01:00", "9999-12-31T23:59:59Z"],
            &[
                "2026-01-31",
                "2026-01-31 12:00:00Z",
                "2026-01-31T12:00:00",
                "2026-01-31T12:00Z",
                "2026-01-31T12:00:00+01",
                "2026-01-31T12:00:00Z[UTC]",
                "2026-02-30T12:00:00Z",
            ],
        ),
        (
            "email",
            &["a@b", "first.last+tag@mail.example.com", "o'neill@example.com"],
            &["", "a", "@b", "a@", "a b@c", "a@b@c", "a..b@c", ".a@c", "ü@c", "a@-b", "a\n@b"],
        ),
        (
            "hostname",
            &["a", "tracker.example", "1.2.3.4", "xn--bcher-kva.example"],
            &["", ".", "a.", "-a", "a-", "a_b", "bücher.example", "a b", "a..b"],
        ),
        ("ipv4", &["192.0.2.1", "0.0.0.0"], &["", "192.0.2", "192.0.2.256", "192.0.2.01", "::1"]),
        (
            "ipv6",
            &["::1", "2001:db8::1", "::ffff:192.0.2.1"],
            &["", ":::", "1.2.3.4", "[::1]", "fe80::1%eth0", "12345::"],
        ),
        (
            "time",
            &["12:00:00Z", "23:59:59.123+02:00", "00:00:00z", "12:00:00-00:30"],
            &["", "12:00Z", "12:00:00", "24:00:00Z", "12:00:00.Z", "12:00:00+25:99", "12:0:000Z"],
        ),
        (
            "uri",
            &["https://tracker.example/a?b#c", "mailto:a@b", "urn:a:b", "http://[::1]:8080/"],
            &["", "tracker", "/a", "//a/b", "http://a b", " http://a", "http://ü", "http://a\\b"],
        ),
        (
            "uuid",
            &["123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"],
            &["", "123e4567e89b12d3a456426614174000", "{123e4567-e89b-12d3-a456-42661417400}"],
        ),
    ];

    #[test]
    fn each_format_accepts_and_refuses_texts() {
        assert_eq!(CASES.map(|(name, ..)| name).as_slice(), format_names());
        for (format, (name, valid, invalid)) in FORMATS.iter().zip(CASES) {
            for text in valid {
                assert!((format.is_valid)(text), "{name}: {text:?}");
            }
            for text in invalid {
                assert!(!(format.is_valid)(text), "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn each_description_ends_with_a_valid_example() {
        for format in FORMATS {
            let example = format.description.rsplit(' ').next().unwrap();
            assert!((format.is_valid)(example), "{}: {example}", format.name);
        }
    }

    fn format_names() -> Vec<&'static str> {
        FORMATS.iter().map(|format| format.name).collect()
    }

    #[test]
    fn long_texts_are_refused() {
        let label = "a".repeat(64);
        assert!(!is_hostname(&label));
        assert!(!is_hostname(&["a"; 128].join(".")));
        assert!(!is_email(&format!("{}@b", "a".repeat(65))));
    }
}
