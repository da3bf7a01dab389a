//! A small connector that keeps to the manual, for the tests of `jackfield test`, and one defect
//! for each check of that suite.
//!
//! [`conforming!`] exports it, with at most one defect, so that each defect is a component.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Value, json};

use crate::{
    Body, Counts, Defect, Effect, Error, ErrorCode, FailedTest, HttpError, Manifest, Method,
    Request, Response, error, failed, http, log, manifest, request, setting,
};

/// What the connector does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Nothing,
    /// A setting has no description.
    DescribesItself,
    /// `check` is not written yet.
    GoodAnswers,
    /// 403 is `rejected`.
    RefusedCredentials,
    /// 422 is `internal`.
    RefusedData,
    /// A date in Retry-After is ignored.
    RateLimit,
    /// 503 is `rejected`.
    TrackerDown,
    /// A lost connection is `internal`.
    NoAnswer,
    /// Counts that are missing are zero.
    UnexpectedAnswer,
    /// The tracker's explanation is not in the error.
    TrackerWords,
    /// The write does not have the marker.
    MarkerWritten,
    /// `find` reads the newest issues and never sends the marker.
    MarkerFound,
    /// `find` returns what the tracker answers, whatever it is.
    ForeignResult,
    /// `find` returns an error if there is no issue.
    UnknownMarker,
    /// `find` returns an empty list if the credentials are wrong.
    EmptyFind,
    /// A second write follows.
    OneWrite,
    /// The write is sent again after 503.
    CreateOnce,
    /// An issue that cannot be read after the write is an error.
    OkAfterWrite,
    /// The write is marked `read`.
    Effects,
    /// A closed critical issue counts as critical.
    Counts,
    /// A random number is in each address.
    SameRequests,
    /// Almost the whole log is used.
    Limits,
}

const SETTINGS: &str = r#"{"type":"object","properties":{"url":{"type":"string","format":"uri",
"title":"Address","description":"Address of the tracker","jackfield:origin":true},"token":{"type":"string",
"writeOnly":true,"title":"Token","description":"A token of the tracker","jackfield:place":{"in":"bearer"}}},
"required":["url","token"],"additionalProperties":false}"#;

impl Wrong {
    pub fn describe(self) -> Manifest {
        let title = r#","description":"Address of the tracker""#;
        let settings = match self {
            Self::DescribesItself => SETTINGS.replace(title, ""),
            _ => SETTINGS.to_owned(),
        };
        manifest(settings)
    }

    pub fn check(self) -> Result<String, Error> {
        if self == Self::GoodAnswers {
            return Err(error(ErrorCode::Unsupported, "check"));
        }
        Ok(format!("{} as {}", setting("url"), self.user()?))
    }

    pub fn create(self, _test: FailedTest, marker: &str) -> Result<Defect, Error> {
        let user = self.user()?;
        let marker = if self == Self::MarkerWritten { "" } else { marker };
        let issue = json!({"title": "A test failed", "text": marker, "author": user});
        let post = Request {
            effect: (self == Self::Effects).then_some(Effect::Read),
            body: Some(Body::Json(issue.to_string())),
            ..request(Method::Post, "/issues")
        };
        let mut created = self.fetch(&post, "issue");
        if self == Self::CreateOnce
            && created.as_ref().is_err_and(|why| why.code == ErrorCode::Unavailable)
        {
            created = self.fetch(&post, "issue").or(created);
        }
        let defect = defect(&created?)?;
        if self == Self::OneWrite {
            let body = Some(Body::Json("{}".to_owned()));
            let comment = format!("/issues/{}/comments", defect.key);
            let _ = http::send(&Request { body, ..request(Method::Post, &comment) });
        }
        if self == Self::OkAfterWrite {
            self.get(&format!("/issues/{}", defect.key), "issue")?;
        }
        Ok(defect)
    }

    pub fn find(self, marker: &str) -> Result<Vec<Defect>, Error> {
        let search = match self {
            Self::MarkerFound => "/newest".to_owned(),
            _ => format!("/issues?text={marker}"),
        };
        let found = match self.get(&search, "issues") {
            Err(why) if self == Self::EmptyFind && why.code == ErrorCode::Unauthorized => {
                return Ok(Vec::new());
            }
            found => found?,
        };
        let issues = found.as_array().ok_or_else(not_expected)?;
        let mine = |issue: &&Value| {
            issue["text"].as_str().is_some_and(|text| text.contains(marker))
                || self == Self::ForeignResult
        };
        let mine: Vec<_> = issues.iter().filter(mine).collect();
        if mine.is_empty() && self != Self::EmptyFind {
            self.user()?;
        }
        if self == Self::UnknownMarker && mine.is_empty() {
            return Err(error(ErrorCode::Rejected, "there is no such issue"));
        }
        mine.into_iter().map(defect).collect()
    }

    pub fn count(self) -> Result<Counts, Error> {
        if self == Self::Limits {
            (0..1_000).for_each(|_| log::log(log::Level::Info, &"x".repeat(50)));
        }
        let counts = match self.get("/counts", "counts") {
            Err(why) if self == Self::UnexpectedAnswer && why.message == NOT_EXPECTED => json!({}),
            counts => counts?,
        };
        let number = |name: &str| match counts[name].as_u64() {
            Some(number) => Ok(number as u32),
            None if self == Self::UnexpectedAnswer => Ok(0),
            None => Err(not_expected()),
        };
        let critical =
            number("critical")? + if self == Self::Counts { number("closed")? } else { 0 };
        Ok(Counts {
            open: number("open")?,
            closed: number("closed")?,
            critical,
            moderate: number("moderate")?,
            critical_link: None,
        })
    }

    fn user(self) -> Result<String, Error> {
        let user = self.get("/me", "user")?;
        user.as_str().map(str::to_owned).ok_or_else(not_expected)
    }

    fn get(self, path: &str, member: &str) -> Result<Value, Error> {
        self.fetch(&request(Method::Get, path), member)
    }

    /// Sends a request, and reads one member of its JSON answer.
    fn fetch(self, request: &Request, member: &str) -> Result<Value, Error> {
        let mut request = Request { url: request.url.clone(), ..copy(request) };
        if self == Self::SameRequests {
            let random = RandomState::new().build_hasher().finish();
            request.query.push(("random".to_owned(), random.to_string()));
        }
        let answer = http::send(&request).map_err(|why| match why {
            HttpError::Interrupted(why) if self == Self::NoAnswer => {
                error(ErrorCode::Internal, why)
            }
            other => failed(other),
        })?;
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(&answer));
        }
        let mut json: Value = serde_json::from_str(answer.text.as_deref().unwrap_or_default())
            .map_err(|_| not_expected())?;
        json.get_mut(member).map(Value::take).ok_or_else(not_expected)
    }

    /// The error for a refusal, with the tracker's words.
    fn refused(self, answer: &Response) -> Error {
        let code = match answer.status {
            403 if self == Self::RefusedCredentials => ErrorCode::Rejected,
            422 if self == Self::RefusedData => ErrorCode::Internal,
            503 if self == Self::TrackerDown => ErrorCode::Rejected,
            401 | 403 => ErrorCode::Unauthorized,
            429 => ErrorCode::RateLimited,
            400..500 => ErrorCode::Rejected,
            _ => ErrorCode::Unavailable,
        };
        let words = match self {
            Self::TrackerWords => "",
            _ => answer.text.as_deref().unwrap_or_default(),
        };
        let message = format!("the tracker answered {}: {words}", answer.status);
        Error { retry_after_seconds: self.wait(answer), ..error(code, message) }
    }

    /// The wait of Retry-After, in seconds: a number or a date.
    fn wait(self, answer: &Response) -> Option<u32> {
        let header = |wanted: &str| answer.headers.iter().find(|(name, _)| name == wanted);
        let (_, value) = header("retry-after")?;
        if let Ok(seconds) = value.parse() {
            return Some(seconds);
        }
        let until = httpdate::parse_http_date(value).ok().filter(|_| self != Self::RateLimit)?;
        let answered = httpdate::parse_http_date(&header("date")?.1).ok()?;
        until.duration_since(answered).ok()?.as_secs().try_into().ok()
    }
}

const NOT_EXPECTED: &str = "the tracker's answer is not the expected JSON";

fn not_expected() -> Error {
    error(ErrorCode::Unavailable, NOT_EXPECTED)
}

fn defect(issue: &Value) -> Result<Defect, Error> {
    let id = issue["id"].as_u64().ok_or_else(not_expected)?;
    let title = issue["title"].as_str().ok_or_else(not_expected)?;
    Ok(Defect {
        link: format!("{}/issues/{id}", setting("url")),
        ..crate::defect(&id.to_string(), title)
    })
}

/// Requests of the bindings cannot be cloned.
fn copy(request: &Request) -> Request {
    let body = match &request.body {
        Some(Body::Json(text)) => Some(Body::Json(text.clone())),
        _ => None,
    };
    Request {
        method: request.method,
        effect: request.effect,
        base: None,
        url: request.url.clone(),
        query: Vec::new(),
        headers: Vec::new(),
        body,
    }
}

/// Exports the connector, with this [`Wrong`].
#[macro_export]
macro_rules! conforming {
    ($wrong:ident) => {
        use $crate::conforming::Wrong;
        use $crate::*;

        struct Conforming;

        impl Behaviour for Conforming {
            fn describe() -> Manifest {
                Wrong::$wrong.describe()
            }
            fn check() -> Result<String, Error> {
                Wrong::$wrong.check()
            }
            fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
                Wrong::$wrong.create(test, &marker)
            }
            fn find(marker: String) -> Result<Vec<Defect>, Error> {
                Wrong::$wrong.find(&marker)
            }
            fn count(_project: String) -> Result<Counts, Error> {
                Wrong::$wrong.count()
            }
        }

        guest!(Conforming);
    };
}
