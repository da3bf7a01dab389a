//! Jackfield connector for any tracker with a REST API. The settings describe the requests, and
//! where the tracker's answers contain the needed values. The connector never receives the
//! credentials: the host adds them to each request.

mod api;
mod settings;
mod template;

use jackfield_connector_kit::*;

use api::Api;
use settings::Settings;
use template::Values;

struct Rest;
connector!(Rest);

impl Connector for Rest {
    type Settings = Settings;
    const NAME: &str = "REST";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Works with any tracker that has a REST API; settings describe its requests.";
    const SCHEMA: &str = include_str!("../settings.schema.json");
    // The delay is long enough for a tracker that indexes new records in the background.
    const INDEX_DELAY_SECONDS: Option<u32> = Some(600);

    /// Also sends the requests for the search and for the counts, so that a person notices a
    /// mistake now, and not when the first test fails.
    fn check(settings: Settings) -> Result<String, Error> {
        settings.check()?;
        let api = Api::new(&settings);
        let user = api.fetch_user()?;
        if settings.text("find-request").is_some() {
            api.find("jackfieldchecksthissearch0")?;
        }
        if settings.text("open-request").is_some() {
            api.fetch_counts()?;
        }
        Ok(format!("{} as {user}", settings.required_text("url")?))
    }

    fn create(settings: Settings, test: FailedTest, marker: &str) -> Result<Defect, Error> {
        let api = Api::new(&settings);
        let title = report::title(settings.number("title-characters")?);
        let text = report::description(
            settings.required_text("markup")?,
            settings.number("description-characters")?,
            Some(marker),
        )?;
        let values = Values::of_test(&test, marker)
            .with_value("title", title.as_str())
            .with_markup("description", text, settings.required_text("markup")?);
        let mut request = settings.request_template("create-request")?.fill(&values)?;
        request.set_fields(settings.text("fields-at").unwrap_or_default())?;
        request.check_contains(marker)?;
        let record: Value =
            api.write_request(&request)?.fetch(settings.text("record-at").unwrap_or_default())?;
        api.to_defect(&record, Some(title))
    }

    fn find(settings: Settings, marker: &str) -> Result<Vec<Defect>, Error> {
        Api::new(&settings).find(marker)
    }

    /// Test Manager's project id is not used, because the requests in the settings name the
    /// tracker's project.
    fn count(settings: Settings, _project: &str) -> Result<Counts, Error> {
        let api = Api::new(&settings);
        api.fetch_user()?;
        api.fetch_counts()
    }
}

impl FollowUp for Rest {
    fn state(settings: Settings, key: &str) -> Result<Option<(bool, Defect)>, Error> {
        let api = Api::new(&settings);
        let closed = settings.list("closed-statuses")?;
        let request = settings.request_template("state-request")?.fill(&Values::of_key(key))?;
        let record: Value =
            match api.read_request(&request)?.fetch(settings.text("record-at").unwrap_or_default())
            {
                // The record is deleted, or the credentials are wrong. The request for the user
                // fails if they are wrong.
                Err(error) if error.is_not_found() => return api.fetch_user().map(|_| None),
                found => found?,
            };
        let defect = api.to_defect(&record, None)?;
        let Some(status) = &defect.status else {
            let why = "the tracker's answer has no status at this place";
            return Err(Error::new(ErrorCode::Unavailable, why).with_setting("status-at"));
        };
        let is_closed = closed.iter().any(|it| it.to_lowercase() == status.to_lowercase());
        Ok(Some((!is_closed, defect)))
    }

    fn comment(s: Settings, key: &str, test: FailedTest, marker: &str) -> Result<(), Error> {
        let (markup, characters) =
            (s.required_text("markup")?, s.number("description-characters")?);
        let values = Values::of_test(&test, marker).with_value("key", key);
        let text = report::comment(markup, characters, marker)?;
        let values = values.with_markup("comment", text, markup);
        let request = s.request_template("comment-request")?.fill(&values)?;
        request.check_contains(marker)?;
        Api::new(&s).write_request(&request)?.send().map(drop)
    }

    fn find_comment(settings: Settings, key: &str, marker: &str) -> Result<bool, Error> {
        let request = settings.request_template("comments-request")?.fill(&Values::of_key(key))?;
        let comments: Value = Api::new(&settings).fetch_complete(&request, "")?;
        Ok(comments.to_string().contains(marker))
    }

    fn reopen(settings: Settings, key: &str) -> Result<(), Error> {
        match Self::state(settings.clone(), key)? {
            Some((false, _)) => {
                let request =
                    settings.request_template("reopen-request")?.fill(&Values::of_key(key))?;
                Api::new(&settings).write_request(&request)?.send().map(drop)
            }
            Some((true, _)) => Ok(()),
            None => Err(Error::rejected(format!("the tracker has no {key:?} any more"))),
        }
    }

    fn attach(settings: Settings, key: &str, id: u32) -> Result<(), Error> {
        let file = find_attachment(id)?;
        let values = Values::of_key(key).with_value("file", file.name.as_str());
        let request = settings.request_template("attach-request")?.fill(&values)?;
        let body = match settings.text("attach-part") {
            None => Body::Attachment(id),
            Some(name) => Body::Multipart(vec![Part {
                name: name.to_owned(),
                file_name: None,
                media_type: None,
                content: Content::Attachment(id),
            }]),
        };
        Api::new(&settings).write_request(&request)?.body(body).send().map(drop)
    }

    fn attached(settings: Settings, key: &str) -> Result<Vec<String>, Error> {
        let request =
            settings.request_template("attachments-request")?.fill(&Values::of_key(key))?;
        let pointer = settings.text("attachments-at").unwrap_or_default();
        let files: Vec<Value> = Api::new(&settings).fetch_complete(&request, pointer)?;
        let name = settings.required_text("attachment-name-at")?;
        files.iter().map(|file| api::read_text(file, name, "attachment-name-at")).collect()
    }
}
