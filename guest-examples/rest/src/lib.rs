//! Jackfield connector for any tracker with a REST API. The settings describe the requests, and the
//! places of the needed values in the answers. It never sees the credentials: the host adds them.

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
    // The tracker is unknown, so the delay is long enough for a search that indexes in the
    // background.
    const INDEX_DELAY_SECONDS: Option<u32> = Some(600);

    /// Also sends the search and the counts, so that a person notices a mistake here and not when
    /// the first test fails.
    fn check(settings: Settings) -> Result<String, Error> {
        settings.check()?;
        let api = Api::of(&settings);
        let user = api.user()?;
        if settings.text("find-request").is_some() {
            api.find("jackfieldchecksthissearch0")?;
        }
        if settings.text("open-request").is_some() {
            api.counts()?;
        }
        Ok(format!("{} as {user}", settings.required("url")?))
    }

    fn create(settings: Settings, test: FailedTest, marker: &str) -> Result<Defect, Error> {
        let api = Api::of(&settings);
        let title = report::title(settings.number("title-characters")?);
        let text = report::description(
            settings.required("markup")?,
            settings.number("description-characters")?,
            Some(marker),
        )?;
        let values = Values::of_test(&test, marker).with("title", title.as_str()).with_markup(
            "description",
            text,
            settings.required("markup")?,
        );
        let mut request = settings.request("create-request")?.fill(&values)?;
        request.set_fields(settings.text("fields-at").unwrap_or_default())?;
        request.must_contain(marker)?;
        let record: Value =
            api.write(&request)?.fetch(settings.text("record-at").unwrap_or_default())?;
        api.defect(&record, Some(title))
    }

    fn find(settings: Settings, marker: &str) -> Result<Vec<Defect>, Error> {
        Api::of(&settings).find(marker)
    }

    /// The requests name the tracker's project, so Test Manager's project id is not used.
    fn count(settings: Settings, _project: &str) -> Result<Counts, Error> {
        let api = Api::of(&settings);
        api.user()?;
        api.counts()
    }
}

impl FollowUp for Rest {
    fn state(settings: Settings, key: &str) -> Result<Option<(bool, Defect)>, Error> {
        let api = Api::of(&settings);
        let closed = settings.list("closed-statuses")?;
        let request = settings.request("state-request")?.fill(&Values::of_key(key))?;
        let record: Value =
            match api.read(&request)?.fetch(settings.text("record-at").unwrap_or_default()) {
                // The record is deleted, unless the credentials are wrong.
                Err(error) if error.is_not_found() => return api.user().map(|_| None),
                found => found?,
            };
        let defect = api.defect(&record, None)?;
        let Some(status) = &defect.status else {
            let why = "the tracker's answer has no status at this place";
            return Err(Error::new(ErrorCode::Unavailable, why).about("status-at"));
        };
        let is_closed = closed.iter().any(|it| it.to_lowercase() == status.to_lowercase());
        Ok(Some((!is_closed, defect)))
    }

    fn comment(s: Settings, key: &str, test: FailedTest, marker: &str) -> Result<(), Error> {
        let (markup, characters) = (s.required("markup")?, s.number("description-characters")?);
        let values = Values::of_test(&test, marker).with("key", key);
        let text = report::comment(markup, characters, marker)?;
        let values = values.with_markup("comment", text, markup);
        let request = s.request("comment-request")?.fill(&values)?;
        request.must_contain(marker)?;
        Api::of(&s).write(&request)?.send().map(drop)
    }

    fn find_comment(settings: Settings, key: &str, marker: &str) -> Result<bool, Error> {
        let request = settings.request("comments-request")?.fill(&Values::of_key(key))?;
        let comments: Value = Api::of(&settings).whole(&request, "")?;
        Ok(comments.to_string().contains(marker))
    }

    fn reopen(settings: Settings, key: &str) -> Result<(), Error> {
        match Self::state(settings.clone(), key)? {
            Some((false, _)) => {
                let request = settings.request("reopen-request")?.fill(&Values::of_key(key))?;
                Api::of(&settings).write(&request)?.send().map(drop)
            }
            Some((true, _)) => Ok(()),
            None => Err(Error::rejected(format!("the tracker has no {key:?} any more"))),
        }
    }

    fn attach(settings: Settings, key: &str, id: u32) -> Result<(), Error> {
        let file = attachment(id)?;
        let values = Values::of_key(key).with("file", file.name.as_str());
        let request = settings.request("attach-request")?.fill(&values)?;
        let body = match settings.text("attach-part") {
            None => Body::Attachment(id),
            Some(name) => Body::Multipart(vec![Part {
                name: name.to_owned(),
                file_name: None,
                media_type: None,
                content: Content::Attachment(id),
            }]),
        };
        Api::of(&settings).write(&request)?.body(body).send().map(drop)
    }

    fn attached(settings: Settings, key: &str) -> Result<Vec<String>, Error> {
        let request = settings.request("attachments-request")?.fill(&Values::of_key(key))?;
        let at = settings.text("attachments-at").unwrap_or_default();
        let files: Vec<Value> = Api::of(&settings).whole(&request, at)?;
        let name = settings.required("attachment-name-at")?;
        files.iter().map(|file| api::text(file, name, "attachment-name-at")).collect()
    }
}
