//! Sends the requests that the settings describe, and reads the tracker's answers.

use jackfield_connector_kit::*;

use crate::settings::Settings;
use crate::template::{FilledRequest, Values};

/// The API of the tracker, as the settings describe it.
pub struct Api<'a> {
    settings: &'a Settings,
    tracker: Tracker<'a>,
}

impl<'a> Api<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        let reasons = settings.text("error-at").unwrap_or_default();
        let tracker = Tracker { name: "The tracker", address: "url", secret: "", reasons };
        Self { settings, tracker }
    }

    /// Returns the name of the user to whom the credentials belong, or a general text if the
    /// setting `user-at` has no value. This request fails if the credentials are wrong. A tracker
    /// may answer other requests nevertheless.
    pub fn fetch_user(&self) -> Result<String, Error> {
        let request = self.settings.request_template("check-request")?.fill(&Values::default())?;
        let answer: Value = self.read_request(&request)?.fetch("")?;
        match self.settings.text("user-at") {
            Some(pointer) => read_text(&answer, pointer, "user-at"),
            None => Ok("the user of the credentials".to_owned()),
        }
    }

    /// Builds a request that changes nothing in the tracker.
    pub fn read_request(&self, request: &FilledRequest<'_>) -> Result<Request<'_>, Error> {
        Ok(self.build_request(request)?.effect(Effect::Read))
    }

    /// Builds a request that may create or change a record.
    pub fn write_request(&self, request: &FilledRequest<'_>) -> Result<Request<'_>, Error> {
        Ok(self.build_request(request)?.effect(Effect::Write))
    }

    fn build_request(&self, filled: &FilledRequest<'_>) -> Result<Request<'_>, Error> {
        let request = self.tracker.request(filled.method, filled.path.as_str());
        let headers = self.settings.headers()?;
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        Ok(match &filled.body {
            Some(Value::Object(members)) if self.settings.text("body-format") == Some("form") => {
                let text =
                    |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let fields = members.iter().map(|(name, value)| (name.clone(), text(value)));
                request.body(Body::Form(fields.collect()))
            }
            Some(body) => request.json(body.clone()),
            None => request,
        })
    }

    /// Sends a request, and returns the part of the JSON answer to which `pointer` points. Fails if
    /// the header `Link` of the answer says that another page follows.
    pub fn fetch_complete<T: serde::de::DeserializeOwned>(
        &self,
        request: &FilledRequest<'_>,
        pointer: &str,
    ) -> Result<T, Error> {
        let response = self.read_request(request)?.send()?;
        if header(&response, "link").is_some_and(|link| link.contains("rel=\"next\"")) {
            let why = format!("the answer to {} is only the first page", request.path);
            return Err(Error::new(ErrorCode::Unavailable, why));
        }
        self.tracker.read_part(&request.path, &response, pointer)
    }

    /// Returns the defects that contain the marker.
    pub fn find(&self, marker: &str) -> Result<Vec<Defect>, Error> {
        let request =
            self.settings.request_template("find-request")?.fill(&Values::of_marker(marker))?;
        let pointer = self.settings.text("found-at").unwrap_or_default();
        let found: Vec<Value> = self.fetch_complete(&request, pointer)?;
        if found.is_empty() {
            self.fetch_user()?;
        }
        // Some trackers ignore a parameter that does not exist in them, and return all records.
        if !found.iter().all(|record| record.to_string().contains(marker)) {
            let why = "the search returned a record without the marker: either the tracker ignores \
                       the search, or its answer does not have the text";
            return Err(Error::unsupported(why).with_setting("find-request"));
        }
        found.iter().map(|record| self.to_defect(record, None)).collect()
    }

    /// Counts the defects with one request for each count. The settings may describe no request for
    /// critical or for moderate defects. Then that count is zero.
    pub fn fetch_counts(&self) -> Result<Counts, Error> {
        let optional = |name| match self.settings.text(name) {
            Some(_) => self.fetch_count(name),
            None => Ok(0),
        };
        Ok(Counts {
            open: self.fetch_count("open-request")?,
            closed: self.fetch_count("closed-request")?,
            critical: optional("critical-request")?,
            moderate: optional("moderate-request")?,
            critical_link: self
                .settings
                .text("critical-page")
                .map(|page| self.complete_address(page)),
        })
    }

    /// Sends the request that the setting `name` describes, and reads the number in the answer.
    fn fetch_count(&self, name: &str) -> Result<u32, Error> {
        let request = self.settings.request_template(name)?.fill(&Values::default())?;
        let response = self.read_request(&request)?.send()?;
        let place = self.settings.required_text("count-at")?;
        let number = match place.strip_prefix("header:") {
            Some(name) => header(&response, &name.trim().to_lowercase()).map(str::to_owned),
            None => {
                let number: Value = self.tracker.read_part(&request.path, &response, place)?;
                number
                    .as_u64()
                    .map(|number| number.to_string())
                    .or(number.as_str().map(str::to_owned))
            }
        };
        number.and_then(|number| number.trim().parse().ok()).ok_or_else(|| {
            let why = format!("the answer to {} has no number at {place}", request.path);
            Error::new(ErrorCode::Unavailable, why).with_setting("count-at")
        })
    }

    /// Converts a record of the tracker to a defect. If the record has no title, the defect has
    /// `title` or, if that is `None`, its key as its title.
    pub fn to_defect(&self, record: &Value, title: Option<String>) -> Result<Defect, Error> {
        let optional = |name| read_text(record, self.settings.text(name)?, name).ok();
        let key = read_text(record, self.settings.required_text("key-at")?, "key-at")?;
        let link = match self.settings.text("link-at") {
            Some(pointer) => read_text(record, pointer, "link-at")?,
            None => {
                let page = self.settings.required_text("page")?;
                let page = Values::of_key(&key).fill(page, percent_encoded);
                self.complete_address(&page.map_err(|error| error.with_setting("page"))?)
            }
        };
        Ok(Defect {
            title: optional("title-at").or(title).unwrap_or_else(|| key.clone()),
            link,
            status: optional("status-at"),
            priority: optional("priority-at"),
            description: optional("description-at"),
            key,
        })
    }

    /// An address that is only a path is appended to the tracker's address.
    fn complete_address(&self, address: &str) -> String {
        match address.starts_with("http") {
            true => address.to_owned(),
            false => page_address(self.settings.text("url").unwrap_or_default(), address, &[]),
        }
    }
}

/// Returns the text or the number in a record to which `pointer`, the value of `setting`, points.
pub fn read_text(record: &Value, pointer: &str, setting: &str) -> Result<String, Error> {
    match record.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => {
            let why = format!("the tracker's answer has no text or number at {pointer:?}");
            Err(Error::new(ErrorCode::Unavailable, why).with_setting(setting))
        }
    }
}
