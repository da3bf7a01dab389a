//! A small connector that follows `wit/connector.wit`, for the tests of `jackfield test`. It can
//! also be built with a mistake. For each check of `jackfield test`, there is a mistake that this
//! check finds.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Value, json};

use crate::{
    Body, Counts, Defect, Effect, Error, ErrorCode, FailedTest, HttpError, Manifest, Method,
    Request, Response, error, http, log, manifest, request, setting, to_connector_error,
};

/// A mistake of the connector. Each mistake has the name of the check that finds it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// The connector has no mistake.
    NoMistake,
    /// A setting has no description.
    DescribesItself,
    /// `check` always returns an error.
    GoodAnswers,
    /// If the tracker answers 403, the connector returns the error `rejected`.
    RefusedCredentials,
    /// If the tracker answers 422, the connector returns the error `internal`.
    RefusedData,
    /// The connector ignores the header `Retry-After` if it is a date.
    RateLimit,
    /// If the tracker answers 503, the connector returns the error `rejected`.
    TrackerDown,
    /// If the answer is not received completely, the connector returns the error `internal`.
    NoAnswer,
    /// `count` returns zero for a count that the tracker's answer does not contain.
    UnexpectedAnswer,
    /// The connector's errors do not contain the tracker's explanation.
    TrackerWords,
    /// The request that creates the issue does not contain the marker.
    MarkerWritten,
    /// `find` reads the newest issues and never sends the marker.
    MarkerFound,
    /// `find` returns all issues of the tracker's answer, even those without the marker.
    ForeignResult,
    /// `find` returns an error if no issue contains the marker.
    UnknownMarker,
    /// `find` returns an empty list if the credentials are wrong.
    EmptyFind,
    /// `create` sends a second write.
    OneWrite,
    /// `create` sends the write again if the first attempt ends with the error `unavailable`.
    CreateOnce,
    /// `create` returns an error if it cannot read the issue after the write.
    OkAfterWrite,
    /// The effect of the request that creates the issue is `read`.
    Effects,
    /// `count` counts all closed issues as critical, in addition to the critical ones.
    Counts,
    /// The query of each request contains a random number.
    SameRequests,
    /// `count` logs more than half of what the limit of the log allows.
    Limits,
}

const SETTINGS: &str = r#"{"type":"object","properties":{"url":{"type":"string","format":"uri",
"title":"Address","description":"Address of the tracker","jackfield:origin":true},"token":{"type":"string",
"writeOnly":true,"title":"Token","description":"A token of the tracker","jackfield:place":{"in":"bearer"}}},
"required":["url","token"],"additionalProperties":false}"#;

impl Mistake {
    pub fn describe(self) -> Manifest {
        let description = r#","description":"Address of the tracker""#;
        let settings = match self {
            Self::DescribesItself => SETTINGS.replace(description, ""),
            _ => SETTINGS.to_owned(),
        };
        manifest(settings)
    }

    pub fn check(self) -> Result<String, Error> {
        if self == Self::GoodAnswers {
            return Err(error(ErrorCode::Unsupported, "check"));
        }
        Ok(format!("{} as {}", setting("url"), self.get_user()?))
    }

    pub fn create(self, _test: FailedTest, marker: &str) -> Result<Defect, Error> {
        let user = self.get_user()?;
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
        let defect = to_defect(&created?)?;
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
        let issues = found.as_array().ok_or_else(unexpected_answer_error)?;
        let is_match = |issue: &&Value| {
            issue["text"].as_str().is_some_and(|text| text.contains(marker))
                || self == Self::ForeignResult
        };
        let matches: Vec<_> = issues.iter().filter(is_match).collect();
        if matches.is_empty() && self != Self::EmptyFind {
            self.get_user()?;
        }
        if self == Self::UnknownMarker && matches.is_empty() {
            return Err(error(ErrorCode::Rejected, "there is no such issue"));
        }
        matches.into_iter().map(to_defect).collect()
    }

    pub fn count(self) -> Result<Counts, Error> {
        if self == Self::Limits {
            (0..1_000).for_each(|_| log::log(log::Level::Info, &"x".repeat(50)));
        }
        let counts = match self.get("/counts", "counts") {
            Err(why) if self == Self::UnexpectedAnswer && why.message == UNEXPECTED_ANSWER => {
                json!({})
            }
            counts => counts?,
        };
        let number = |name: &str| match counts[name].as_u64() {
            Some(number) => Ok(number as u32),
            None if self == Self::UnexpectedAnswer => Ok(0),
            None => Err(unexpected_answer_error()),
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

    /// Requests the name of the user. The request fails if the token is wrong.
    fn get_user(self) -> Result<String, Error> {
        let user = self.get("/me", "user")?;
        user.as_str().map(str::to_owned).ok_or_else(unexpected_answer_error)
    }

    /// Sends a GET request, and reads one member of its JSON answer.
    fn get(self, path: &str, member: &str) -> Result<Value, Error> {
        self.fetch(&request(Method::Get, path), member)
    }

    /// Sends any request, and reads one member of its JSON answer.
    fn fetch(self, request: &Request, member: &str) -> Result<Value, Error> {
        let mut request = Request { url: request.url.clone(), ..copy_request(request) };
        if self == Self::SameRequests {
            let random = RandomState::new().build_hasher().finish();
            request.query.push(("random".to_owned(), random.to_string()));
        }
        let answer = http::send(&request).map_err(|why| match why {
            HttpError::Interrupted(why) if self == Self::NoAnswer => {
                error(ErrorCode::Internal, why)
            }
            other => to_connector_error(other),
        })?;
        if !(200..300).contains(&answer.status) {
            return Err(self.refusal_error(&answer));
        }
        let mut json: Value = serde_json::from_str(answer.text.as_deref().unwrap_or_default())
            .map_err(|_| unexpected_answer_error())?;
        json.get_mut(member).map(Value::take).ok_or_else(unexpected_answer_error)
    }

    /// Returns the error for an answer that refuses a request.
    fn refusal_error(self, answer: &Response) -> Error {
        let code = match answer.status {
            403 if self == Self::RefusedCredentials => ErrorCode::Rejected,
            422 if self == Self::RefusedData => ErrorCode::Internal,
            503 if self == Self::TrackerDown => ErrorCode::Rejected,
            401 | 403 => ErrorCode::Unauthorized,
            429 => ErrorCode::RateLimited,
            400..500 => ErrorCode::Rejected,
            _ => ErrorCode::Unavailable,
        };
        let explanation = match self {
            Self::TrackerWords => "",
            _ => answer.text.as_deref().unwrap_or_default(),
        };
        let message = format!("the tracker answered {}: {explanation}", answer.status);
        Error { retry_after_seconds: self.retry_after_seconds(answer), ..error(code, message) }
    }

    /// Returns the wait that the header `Retry-After` requests, in seconds. The header is a number
    /// or a date.
    fn retry_after_seconds(self, answer: &Response) -> Option<u32> {
        let header = |key: &str| answer.headers.iter().find(|(name, _)| name == key);
        let (_, value) = header("retry-after")?;
        if let Ok(seconds) = value.parse() {
            return Some(seconds);
        }
        let until = httpdate::parse_http_date(value).ok().filter(|_| self != Self::RateLimit)?;
        let answered = httpdate::parse_http_date(&header("date")?.1).ok()?;
        until.duration_since(answered).ok()?.as_secs().try_into().ok()
    }
}

const UNEXPECTED_ANSWER: &str = "the tracker's answer is not the expected JSON";

fn unexpected_answer_error() -> Error {
    error(ErrorCode::Unavailable, UNEXPECTED_ANSWER)
}

fn to_defect(issue: &Value) -> Result<Defect, Error> {
    let id = issue["id"].as_u64().ok_or_else(unexpected_answer_error)?;
    let title = issue["title"].as_str().ok_or_else(unexpected_answer_error)?;
    Ok(Defect {
        link: format!("{}/issues/{id}", setting("url")),
        ..crate::defect(&id.to_string(), title)
    })
}

/// Copies a request without base, query and headers, whose body is JSON or missing. The types of
/// the bindings do not implement `Clone`.
fn copy_request(request: &Request) -> Request {
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

/// Exports the connector with one [`Mistake`], or with none.
#[macro_export]
macro_rules! conforming {
    ($mistake:ident) => {
        use $crate::conforming::Mistake;
        use $crate::*;

        struct Conforming;

        impl Behaviour for Conforming {
            fn describe() -> Manifest {
                Mistake::$mistake.describe()
            }
            fn check() -> Result<String, Error> {
                Mistake::$mistake.check()
            }
            fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
                Mistake::$mistake.create(test, &marker)
            }
            fn find(marker: String) -> Result<Vec<Defect>, Error> {
                Mistake::$mistake.find(&marker)
            }
            fn count(_project: String) -> Result<Counts, Error> {
                Mistake::$mistake.count()
            }
        }

        guest!(Conforming);
    };
}
