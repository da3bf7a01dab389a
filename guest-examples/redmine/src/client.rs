//! Redmine's REST API: addresses, requests, and what each failure means.
//!
//! Knows no failed test. Every failure becomes one of the contract's errors in [`exchange`] and
//! [`refused`], nowhere else.

use form_urlencoded::Serializer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::jackfield::connector::http::{self, HttpError, Method, Request, Response};
use crate::bindings::jackfield::connector::model::Error;
use crate::settings::Settings;

/// Seconds to wait where Redmine (or what stands before it) asks to wait but does not say how long.
const DEFAULT_RETRY_SECONDS: u32 = 60;

/// One Redmine.
pub struct Client {
    url: String,
}

/// Something with a number and a name: a tracker, a priority, a custom field.
#[derive(Deserialize)]
pub struct Named {
    pub id: u64,
    pub name: String,
}

#[derive(Deserialize)]
pub struct Project {
    pub identifier: String,
    pub name: String,
    #[serde(default)]
    pub trackers: Vec<Named>,
}

#[derive(Deserialize)]
pub struct User {
    pub login: String,
    firstname: String,
    lastname: String,
}

impl Named {
    /// Whether a person means this one.
    pub fn is(&self, name: &str) -> bool {
        self.name.to_lowercase() == name.to_lowercase()
    }
}

impl User {
    pub fn name(&self) -> String {
        format!("{} {}", self.firstname, self.lastname)
    }
}

impl Client {
    pub fn new(settings: &Settings) -> Self {
        Self { url: settings.url.clone() }
    }

    /// Whose API key it is.
    pub fn current_user(&self) -> Result<User, Error> {
        #[derive(Deserialize)]
        struct Answer {
            user: User,
        }
        self.get("/users/current.json", &[]).map(|Answer { user }| user)
    }

    /// A project with its trackers.
    pub fn project(&self, identifier: &str) -> Result<Project, Error> {
        #[derive(Deserialize)]
        struct Answer {
            project: Project,
        }
        let path = format!("/projects/{identifier}.json");
        self.get(&path, &[("include", "trackers")]).map(|Answer { project }| project)
    }

    /// The first hundred projects that the user can see.
    pub fn projects(&self) -> Result<Vec<Project>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            projects: Vec<Project>,
        }
        self.get("/projects.json", &[("limit", "100")]).map(|Answer { projects }| projects)
    }

    /// All trackers.
    pub fn trackers(&self) -> Result<Vec<Named>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            trackers: Vec<Named>,
        }
        self.get("/trackers.json", &[]).map(|Answer { trackers }| trackers)
    }

    /// The custom fields of issues. Redmine tells only administrators.
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
        let of_issues = custom_fields.into_iter().filter(|field| field.customized_type == "issue");
        Ok(of_issues.map(|field| field.named).collect())
    }

    /// How many issues of a page (`/projects/qa/issues`) the filters let through.
    pub fn total(&self, page: &str, filters: &[(&str, &str)]) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Answer {
            total_count: u64,
        }
        let query = [filters, &[("limit", "1")]].concat();
        self.get(&format!("{page}.json"), &query).map(|Answer { total_count }| total_count)
    }

    /// Reads `path`.
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        self.exchange(Method::Get, path, query, None)
    }

    /// Posts `body` to `path`. To the host a POST is a write, so it is journalled before it leaves.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        self.exchange(Method::Post, path, &[], Some(body.to_string().into_bytes()))
    }

    /// An absolute address, also of pages for people.
    pub fn address(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut address = format!("{}{path}", self.url);
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
        body: Option<Vec<u8>>,
    ) -> Result<T, Error> {
        let request = Request {
            method,
            effect: None,
            url: self.address(path, query),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body,
        };
        let response = http::send(&request).map_err(|error| match error {
            HttpError::Unreachable(why) | HttpError::Interrupted(why) => Error::Unavailable(why),
            HttpError::Denied(why) | HttpError::Limit(why) | HttpError::Invalid(why) => {
                Error::Internal(why)
            }
        })?;
        match response.status {
            200..=299 => serde_json::from_slice(&response.body).map_err(|why| {
                Error::Unavailable(format!("{path} answered something that is not its JSON ({why}); is this Redmine's address?"))
            }),
            _ => Err(refused(path, &response)),
        }
    }
}

/// What an answer other than success means.
fn refused(path: &str, response: &Response) -> Error {
    let status = response.status;
    let said = format!("Redmine answered {status} to {path}");
    match status {
        401 => Error::Unauthorized(format!(
            "{said}: the API key is wrong, or the REST API is off (Administration, Settings, API)"
        )),
        403 => Error::Unauthorized(format!("{said}: the user of the API key may not do this")),
        404 => Error::Rejected(format!(
            "{said}: it is not there, or the user of the API key may not see it"
        )),
        422 => Error::Rejected(own_words(&response.body).unwrap_or(said)),
        429 => Error::RateLimited(retry_after(response)),
        500..=599 => Error::Unavailable(said),
        300..=399 => Error::Rejected(match header(response, "location") {
            Some(location) => format!("{said}: it moved to {location}; mend the setting `url`"),
            None => said,
        }),
        _ => Error::Rejected(said),
    }
}

/// The messages of a 422: `{"errors":["Subject cannot be blank"]}`.
fn own_words(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<String>,
    }
    let Answer { errors } = serde_json::from_slice(body).ok()?;
    Some(errors.join("; ")).filter(|words| !words.is_empty())
}

fn retry_after(response: &Response) -> u32 {
    header(response, "retry-after")
        .and_then(|seconds| seconds.trim().parse().ok())
        .unwrap_or(DEFAULT_RETRY_SECONDS)
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut headers = response.headers.iter();
    headers.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
