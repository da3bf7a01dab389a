//! A client for Redmine's REST API.
//!
//! This file alone sends requests and turns failures into the contract's errors. It never sees a
//! failed test.

use form_urlencoded::Serializer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::jackfield::connector::http::{
    self, Body, HttpError, Method, Request, Response,
};
use crate::bindings::jackfield::connector::model::{Error, ErrorCode};
use crate::model::{Named, Project, User};
use crate::settings::Settings;

pub struct Client {
    /// Redmine's start page, without a trailing slash.
    base_url: String,
}

impl Client {
    pub fn new(settings: &Settings) -> Self {
        Self { base_url: settings.url.clone() }
    }

    /// Returns the user of the API key. Fails if the key is wrong, unlike most other requests.
    pub fn current_user(&self) -> Result<User, Error> {
        #[derive(Deserialize)]
        struct Answer {
            user: User,
        }
        self.get("/users/current.json", &[]).map(|Answer { user }| user)
    }

    /// Returns a project and its trackers.
    pub fn project(&self, identifier: &str) -> Result<Project, Error> {
        #[derive(Deserialize)]
        struct Answer {
            project: Project,
        }
        let path = format!("/projects/{identifier}.json");
        self.get(&path, &[("include", "trackers")]).map(|Answer { project }| project)
    }

    /// Returns the first hundred projects that the user can see.
    pub fn projects(&self) -> Result<Vec<Project>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            projects: Vec<Project>,
        }
        self.get("/projects.json", &[("limit", "100")]).map(|Answer { projects }| projects)
    }

    /// Returns the trackers of all projects.
    pub fn trackers(&self) -> Result<Vec<Named>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            trackers: Vec<Named>,
        }
        self.get("/trackers.json", &[]).map(|Answer { trackers }| trackers)
    }

    /// Returns the custom fields of issues. Redmine shows this list only to administrators.
    pub fn issue_custom_fields(&self) -> Result<Vec<Named>, Error> {
        #[derive(Deserialize)]
        struct Field {
            customized_type: String,
            #[serde(flatten)]
            named: Named,
        }
        #[derive(Deserialize)]
        struct Answer {
            custom_fields: Vec<Field>,
        }
        let Answer { custom_fields } = self.get("/custom_fields.json", &[])?;
        let issue_fields =
            custom_fields.into_iter().filter(|field| field.customized_type == "issue");
        Ok(issue_fields.map(|field| field.named).collect())
    }

    /// Counts the issues on a page such as `/projects/qa/issues` that match all filters.
    pub fn count_issues(&self, page: &str, filters: &[(&str, &str)]) -> Result<u32, Error> {
        #[derive(Deserialize)]
        struct Answer {
            total_count: u32,
        }
        let query = [filters, &[("limit", "1")]].concat();
        self.get(&format!("{page}.json"), &query).map(|Answer { total_count }| total_count)
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        self.exchange(Method::Get, path, query, None)
    }

    /// Posts `body` as JSON. The host treats a POST as a write: it stores durably that the write is
    /// about to be sent before the first byte leaves.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        self.exchange(Method::Post, path, &[], Some(Body::Json(body.to_string())))
    }

    /// Returns the absolute address of a page that people open.
    pub fn address(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut address = format!("{}{path}", self.base_url);
        if !query.is_empty() {
            address.push('?');
            address.push_str(&Serializer::new(String::new()).extend_pairs(query).finish());
        }
        address
    }

    fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Body>,
    ) -> Result<T, Error> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let request = Request {
            method,
            effect: None,
            base: None,
            url: path.to_owned(),
            query: query.collect(),
            headers: Vec::new(),
            body,
        };
        let response = http::send(&request).map_err(|error| match error {
            HttpError::Unreachable(why) | HttpError::Interrupted(why) => {
                Error::new(ErrorCode::Unavailable, why)
            }
            HttpError::Denied(why) | HttpError::Limit(why) | HttpError::Invalid(why) => {
                Error::new(ErrorCode::Internal, why)
            }
        })?;
        if !(200..300).contains(&response.status) {
            return Err(error_of(path, &response));
        }
        serde_json::from_str(response.text.as_deref().unwrap_or_default()).map_err(|error| {
            let why = format!("the answer to {path} is not the expected JSON ({error})");
            Error::new(ErrorCode::Unavailable, why + "; is this the address of a Redmine?")
                .about("url")
        })
    }
}

impl Error {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), setting: None, retry_after_seconds: None }
    }

    /// Names the setting to change.
    pub fn about(self, setting: &str) -> Self {
        Self { setting: Some(setting.to_owned()), ..self }
    }
}

/// Turns an answer without success into an error that says what to do.
fn error_of(path: &str, response: &Response) -> Error {
    let status = response.status;
    let answered = format!("Redmine answered {status} to {path}");
    match status {
        401 => Error::new(
            ErrorCode::Unauthorized,
            answered
                + ": the API key is wrong, or the REST API is disabled (see Administration, \
                   Settings, API)",
        )
        .about("api-key"),
        403 => Error::new(
            ErrorCode::Unauthorized,
            answered + ": the user of the API key does not have the right to do this",
        ),
        404 => Error::new(
            ErrorCode::Rejected,
            answered + ": it does not exist, or the user of the API key cannot see it",
        ),
        422 => Error::new(ErrorCode::Rejected, error_messages(response).unwrap_or(answered)),
        429 => Error {
            retry_after_seconds: header(response, "retry-after")
                .and_then(|seconds| seconds.trim().parse().ok()),
            ..Error::new(ErrorCode::RateLimited, answered)
        },
        500..=599 => Error::new(ErrorCode::Unavailable, answered),
        300..=399 => match header(response, "location") {
            Some(location) => {
                let why = format!("{answered} and redirects to {location}");
                Error::new(ErrorCode::Rejected, why).about("url")
            }
            None => Error::new(ErrorCode::Rejected, answered),
        },
        _ => Error::new(ErrorCode::Rejected, answered),
    }
}

/// Reads the messages of a 422 answer: `{"errors":["Subject cannot be blank"]}`.
fn error_messages(response: &Response) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<String>,
    }
    let Answer { errors } = serde_json::from_str(response.text.as_deref()?).ok()?;
    Some(errors.join("; ")).filter(|messages| !messages.is_empty())
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut headers = response.headers.iter();
    headers.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
