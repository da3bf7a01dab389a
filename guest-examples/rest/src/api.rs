//! Sends the requests that the settings describe, and reads their answers.

use jackfield_connector_kit::*;

use crate::settings::Settings;
use crate::template::{Filled, Values};

pub struct Api<'a> {
    settings: &'a Settings,
    tracker: Tracker<'a>,
}

impl<'a> Api<'a> {
    pub fn of(settings: &'a Settings) -> Self {
        let words = settings.text("error-at").unwrap_or_default();
        let tracker = Tracker { name: "The tracker", address: "url", secret: "", words };
        Self { settings, tracker }
    }

    /// Returns the user of the credentials. Other requests may be answered even with wrong ones.
    pub fn user(&self) -> Result<String, Error> {
        let request = self.settings.request("check-request")?.fill(&Values::default())?;
        let answer: Value = self.read(&request)?.fetch("")?;
        match self.settings.text("user-at") {
            Some(at) => text(&answer, at, "user-at"),
            None => Ok("the user of the credentials".to_owned()),
        }
    }

    pub fn read(&self, request: &Filled<'_>) -> Result<Request<'_>, Error> {
        Ok(self.request(request)?.effect(Effect::Read))
    }

    pub fn write(&self, request: &Filled<'_>) -> Result<Request<'_>, Error> {
        Ok(self.request(request)?.effect(Effect::Write))
    }

    fn request(&self, filled: &Filled<'_>) -> Result<Request<'_>, Error> {
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

    /// Returns a part of an answer. An answer that is one page of several is refused.
    pub fn whole<T: serde::de::DeserializeOwned>(
        &self,
        request: &Filled<'_>,
        pointer: &str,
    ) -> Result<T, Error> {
        let response = self.read(request)?.send()?;
        if header(&response, "link").is_some_and(|link| link.contains("rel=\"next\"")) {
            let why = format!("the answer to {} is only the first page", request.path);
            return Err(Error::new(ErrorCode::Unavailable, why));
        }
        self.tracker.part(&request.path, &response, pointer)
    }

    pub fn find(&self, marker: &str) -> Result<Vec<Defect>, Error> {
        let request = self.settings.request("find-request")?.fill(&Values::of_marker(marker))?;
        let at = self.settings.text("found-at").unwrap_or_default();
        let found: Vec<Value> = self.whole(&request, at)?;
        if found.is_empty() {
            self.user()?;
        }
        // A tracker may ignore a parameter that it does not know, and then return all records.
        if !found.iter().all(|record| record.to_string().contains(marker)) {
            let why = "the search returned a record without the marker: either the tracker ignores \
                       the search, or its answer does not have the text";
            return Err(Error::unsupported(why).about("find-request"));
        }
        found.iter().map(|record| self.defect(record, None)).collect()
    }

    pub fn counts(&self) -> Result<Counts, Error> {
        let optional = |name| match self.settings.text(name) {
            Some(_) => self.count(name),
            None => Ok(0),
        };
        Ok(Counts {
            open: self.count("open-request")?,
            closed: self.count("closed-request")?,
            critical: optional("critical-request")?,
            moderate: optional("moderate-request")?,
            critical_link: self.settings.text("critical-page").map(|page| self.page(page)),
        })
    }

    fn count(&self, name: &str) -> Result<u32, Error> {
        let request = self.settings.request(name)?.fill(&Values::default())?;
        let response = self.read(&request)?.send()?;
        let place = self.settings.required("count-at")?;
        let number = match place.strip_prefix("header:") {
            Some(name) => header(&response, &name.trim().to_lowercase()).map(str::to_owned),
            None => {
                let number: Value = self.tracker.part(&request.path, &response, place)?;
                number
                    .as_u64()
                    .map(|number| number.to_string())
                    .or(number.as_str().map(str::to_owned))
            }
        };
        number.and_then(|number| number.trim().parse().ok()).ok_or_else(|| {
            let why = format!("the answer to {} has no number at {place}", request.path);
            Error::new(ErrorCode::Unavailable, why).about("count-at")
        })
    }

    /// Converts a record of the tracker into a defect. `title` is used if the record has no title.
    pub fn defect(&self, record: &Value, title: Option<String>) -> Result<Defect, Error> {
        let optional = |name| text(record, self.settings.text(name)?, name).ok();
        let key = text(record, self.settings.required("key-at")?, "key-at")?;
        let link = match self.settings.text("link-at") {
            Some(at) => text(record, at, "link-at")?,
            None => {
                let page = self.settings.required("page")?;
                let page = Values::of_key(&key).fill(page, percent_encoded);
                self.page(&page.map_err(|error| error.about("page"))?)
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

    /// Returns the address of a page: unchanged if it is complete, else below the tracker's
    /// address.
    fn page(&self, address: &str) -> String {
        match address.starts_with("http") {
            true => address.to_owned(),
            false => page(self.settings.text("url").unwrap_or_default(), address, &[]),
        }
    }
}

/// Returns the text or the number at a place of a record.
pub fn text(record: &Value, pointer: &str, setting: &str) -> Result<String, Error> {
    match record.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => {
            let why = format!("the tracker's answer has no text or number at {pointer:?}");
            Err(Error::new(ErrorCode::Unavailable, why).about(setting))
        }
    }
}
