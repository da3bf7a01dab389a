//! Uploads the attachments of the host's report. Then creates a defect from the title, the
//! description and the fields of the report, and from one subject of Test Manager's data. `check`
//! also uses the report and Test Manager's data.

use jackfield_test_guests::*;

struct UsesReport;

impl Behaviour for UsesReport {
    fn check() -> Result<String, Error> {
        let title = report::title(100);
        let description = report::description("markdown", 1_000, None)?;
        let (fields, files) = (report::fields().len(), report::attachments().len());
        let project = test_manager::get("project")?;
        Ok(format!("{title:?} {description:?} {fields} {files} {project}"))
    }

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let title = report::title(60);
        let description = report::description("markdown", 2_000, Some(&marker))?;
        let mut lines = vec![title.clone(), description];
        for field in report::fields() {
            let value = match field.value {
                report::FieldValue::Text(text) => text,
                report::FieldValue::Json(json) => json,
            };
            lines.push(format!("{} = {value}", field.name));
        }
        for attachment in report::attachments() {
            let what = format!("{} {} {}", attachment.kind, attachment.name, attachment.media_type);
            lines.push(format!("{what}: {}", send_and_read_attachment(attachment.id)));
        }
        lines.push(match test_manager::get("test-case-log") {
            Ok(json) => json,
            Err(error) => error.message,
        });
        let unknown = (report::description("rtf", 1, None), report::read(99));
        lines.push(format!("{unknown:?}"));
        let answer = send(Method::Post, "/issues.json", Some(&lines.join("\n")))
            .map_err(to_connector_error)?;
        let id = first_id(&answer).ok_or(error(ErrorCode::Unavailable, "no id"))?;
        Ok(Defect { description: Some(lines.join("\n")), ..defect(&id, &title) })
    }
}

/// Sends an attachment as a part of a body, sends it as a body, and reads it. Returns the three
/// results.
fn send_and_read_attachment(id: u32) -> String {
    let prepare = |url: &str, body| {
        let post = request(Method::Post, url);
        let sent = http::send(&Request { effect: Some(Effect::Prepare), body: Some(body), ..post });
        sent.map_or_else(|why| format!("{why:?}"), |answer| answer.status.to_string())
    };
    let (name, content) = ("file".to_owned(), Content::Attachment(id));
    let part = Part { name, file_name: None, media_type: None, content };
    let as_part = prepare("/parts", Body::Multipart(vec![part]));
    let as_body = prepare("/uploads", Body::Attachment(id));
    let read = report::read(id).map_or_else(|why| why.message, |bytes| bytes.len().to_string());
    format!("{as_body} {as_part} {read}")
}

guest!(UsesReport);
