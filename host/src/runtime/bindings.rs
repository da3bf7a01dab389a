//! Contains the Rust types for the WIT contract. Checks and redacts the defects, counts, choices,
//! names of attachments and errors that guests return. Each exported interface is bound separately,
//! so a connector need not export all of them.

use crate::domain::{
    Choice, ChoicesPage, ConnectorFault, Counts, CurrentDefect, Defect, FailedTest, Reason,
    Refusal, is_web_address,
};
use crate::manifest::RawManifest;
use crate::redact::TextKind;

use super::error::shortened;

/// A function that removes secrets from a text that the guest returned.
pub(super) type Redact<'a> = &'a dyn Fn(TextKind, String) -> String;

pub(super) use generated::exports::jackfield::connector::{defects, follow_up, kpis, plugin};
pub(super) use generated::jackfield::connector::{
    http, log, model, report, settings, test_manager,
};

#[allow(
    clippy::all,
    missing_docs,
    unsafe_code,
    unreachable_pub,
    reason = "generated from the WIT, which is documented"
)]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "follow-up-connector",
        imports: {
            "jackfield:connector/http.send": async | trappable,
            "jackfield:connector/report.title": async | trappable,
            "jackfield:connector/report.description": async | trappable,
            "jackfield:connector/report.comment": async | trappable,
            "jackfield:connector/report.fields": async | trappable,
            "jackfield:connector/report.attachments": async | trappable,
            "jackfield:connector/report.read": async | trappable,
            "jackfield:connector/test-manager.get": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}

pub(super) use script::exports::jackfield::script::preparation;
pub(super) use script::jackfield::script::source;

#[allow(
    clippy::all,
    missing_docs,
    unsafe_code,
    unreachable_pub,
    reason = "generated from the WIT, which is documented"
)]
mod script {
    wasmtime::component::bindgen!({
        path: ["../wit", "../guest-examples/script-runner/wit"],
        world: "jackfield:script/additions",
        imports: { default: trappable },
        exports: { default: async },
    });
}

impl From<&FailedTest> for model::FailedTest {
    fn from(test: &FailedTest) -> Self {
        Self {
            test_execution_id: test.test_execution_id.to_string(),
            test_case_id: test.test_case_id.to_string(),
            variation_id: test.variation_id().map(str::to_owned),
            link: test.link.clone(),
        }
    }
}

/// Maximum length of a short text that the guest returns, such as a title, a link or a name, bytes.
const SHORT_TEXT_BYTES_MAX: usize = 4_096;
/// Maximum number of names that `attached` may return.
const ATTACHMENT_NAMES_MAX: usize = 10_000;
/// Maximum number of choices that `choices` may return at once.
const CHOICES_MAX: usize = 10_000;
/// Maximum length of a description of a defect, bytes.
const DESCRIPTION_BYTES_MAX: usize = 65_536;
/// Maximum length of the name of a setting in an error, bytes.
const SETTING_NAME_BYTES_MAX: usize = 64;
/// The wait that a refusal names if the connector returns the error `rate-limited` without a wait,
/// seconds.
const DEFAULT_RETRY_AFTER_S: u32 = 60;

pub(super) fn check_defect(returned: model::Defect, redact: Redact<'_>) -> Result<Defect, Refusal> {
    let value = |text| redact(TextKind::Value, text);
    let defect = Defect {
        key: redact(TextKind::Name, returned.key),
        title: value(returned.title),
        link: redact(TextKind::Name, returned.link),
        status: returned.status.map(value),
        priority: returned.priority.map(value),
        description: returned.description.map(value),
    };
    if defect.key.is_empty() || defect.key.len() > Defect::KEY_BYTES_MAX {
        let bytes = defect.key.len();
        return contract_violation(format!(
            "a defect's key has {bytes} bytes; allowed are 1 to {}",
            Defect::KEY_BYTES_MAX
        ));
    }
    let short_texts =
        [Some(&defect.title), Some(&defect.link), defect.status.as_ref(), defect.priority.as_ref()];
    if short_texts.into_iter().flatten().any(|text| text.len() > SHORT_TEXT_BYTES_MAX) {
        return contract_violation(format!(
            "a defect's title, link, status or priority is longer than {SHORT_TEXT_BYTES_MAX} bytes"
        ));
    }
    if defect.description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
        return contract_violation(format!(
            "a defect's description is longer than {DESCRIPTION_BYTES_MAX} bytes"
        ));
    }
    if !is_link(&defect.link) {
        let link = defect.link;
        return contract_violation(format!(
            "a defect's link must be an absolute http(s) address, not {link:?}"
        ));
    }
    Ok(defect)
}

pub(super) fn check_current_defect(
    returned: Option<follow_up::Current>,
    redact: Redact<'_>,
) -> Result<Option<CurrentDefect>, Refusal> {
    let Some(follow_up::Current { defect, open }) = returned else { return Ok(None) };
    Ok(Some(CurrentDefect { defect: check_defect(defect, redact)?, is_open: open }))
}

pub(super) fn check_attachment_names(
    names: Vec<String>,
    redact: Redact<'_>,
) -> Result<Vec<String>, Refusal> {
    let is_long = |name: &String| name.len() > SHORT_TEXT_BYTES_MAX;
    if names.len() > ATTACHMENT_NAMES_MAX || names.iter().any(is_long) {
        return contract_violation(format!(
            "`attached` returned more than {ATTACHMENT_NAMES_MAX} names, or a name of more than \
             {SHORT_TEXT_BYTES_MAX} bytes"
        ));
    }
    Ok(names.into_iter().map(|name| redact(TextKind::Value, name)).collect())
}

pub(super) fn check_choices(
    page: plugin::ChoicesPage,
    redact: Redact<'_>,
) -> Result<ChoicesPage, Refusal> {
    let is_long = |choice: &plugin::Choice| {
        choice.value.len() > SHORT_TEXT_BYTES_MAX || choice.label.len() > SHORT_TEXT_BYTES_MAX
    };
    if page.choices.len() > CHOICES_MAX || page.choices.iter().any(is_long) {
        return contract_violation(format!(
            "`choices` returned more than {CHOICES_MAX} choices, or a text of more than \
             {SHORT_TEXT_BYTES_MAX} bytes"
        ));
    }
    let value = |text| redact(TextKind::Value, text);
    let choice =
        |choice: plugin::Choice| Choice { value: value(choice.value), label: value(choice.label) };
    let choices = page.choices.into_iter().map(choice).collect();
    Ok(ChoicesPage { choices, has_more: page.more })
}

pub(super) fn check_counts(counts: model::Counts, redact: Redact<'_>) -> Result<Counts, Refusal> {
    let critical_link = counts.critical_link.map(|link| redact(TextKind::Name, link));
    if let Some(link) = critical_link.as_ref().filter(|link| !is_link(link)) {
        let link = shortened(link);
        return contract_violation(format!(
            "`critical-link` must be an absolute http(s) address, not {link:?}"
        ));
    }
    Ok(Counts {
        open: counts.open.into(),
        closed: counts.closed.into(),
        critical: counts.critical.into(),
        moderate: counts.moderate.into(),
        critical_link,
    })
}

fn contract_violation<T>(why: String) -> Result<T, Refusal> {
    Err(Refusal::ConnectorFault(ConnectorFault::Contract(why)))
}

fn is_link(text: &str) -> bool {
    text.len() <= SHORT_TEXT_BYTES_MAX && is_web_address(text)
}

/// Builds an error that an imported function returns to the guest.
pub(super) fn import_error(code: model::ErrorCode, message: String) -> model::Error {
    model::Error { code, message, setting: None, retry_after_seconds: None }
}

/// If the error names a setting that a person must change, the text of the refusal names it too.
pub(super) fn refusal_from(error: model::Error, redact: Redact<'_>) -> Refusal {
    let mut why = redact(TextKind::ForPeople, error.message);
    why.truncate(why.floor_char_boundary(SHORT_TEXT_BYTES_MAX));
    let setting = error.setting.map(|name| redact(TextKind::Name, name));
    let setting = setting.filter(|name| (1..=SETTING_NAME_BYTES_MAX).contains(&name.len()));
    if let Some(name) = &setting
        && !why.contains(&format!("`{name}`"))
    {
        why += &format!(" (setting `{name}`)");
    }
    let reason = Reason { text: why, setting };
    match error.code {
        model::ErrorCode::Rejected => Refusal::Rejected(reason),
        model::ErrorCode::Unauthorized => Refusal::CredentialsRefused(reason),
        model::ErrorCode::Unavailable => Refusal::TrackerUnavailable(reason),
        model::ErrorCode::RateLimited => {
            let retry_after_s = error.retry_after_seconds.unwrap_or(DEFAULT_RETRY_AFTER_S);
            Refusal::TrackerRateLimited { why: reason.text, retry_after_s }
        }
        model::ErrorCode::Unsupported => Refusal::Unsupported(reason),
        model::ErrorCode::Internal => Refusal::ConnectorError(reason),
    }
}

impl From<plugin::Manifest> for RawManifest {
    fn from(manifest: plugin::Manifest) -> Self {
        Self {
            name: manifest.name,
            version: manifest.version,
            summary: manifest.summary,
            homepage: manifest.homepage,
            settings: manifest.settings,
            index_delay_seconds: manifest.index_delay_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the refusal for an error of a connector. `s3cr3t` is the secret.
    fn refusal_of(code: model::ErrorCode, message: &str, setting: Option<&str>) -> Refusal {
        let error = model::Error {
            code,
            message: message.to_owned(),
            setting: setting.map(str::to_owned),
            retry_after_seconds: None,
        };
        refusal_from(error, &|_, text| text.replace("s3cr3t", "[secret]"))
    }

    #[test]
    fn a_refusal_names_the_setting_that_a_person_must_change() {
        let rejected =
            |message, setting| refusal_of(model::ErrorCode::Rejected, message, setting).to_string();
        assert_eq!(rejected("no s3cr3t", None), "rejected: no [secret]");
        let with_setting = "a setting does not fit: no [secret] (setting `project`)";
        assert_eq!(rejected("no s3cr3t", Some("project")), with_setting);
        let already_named = rejected("the setting `project` is wrong", Some("project"));
        assert_eq!(already_named.matches("`project`").count(), 1, "{already_named}");
        let long_name = rejected("no", Some(&"x".repeat(100)));
        assert!(long_name.ends_with("no"), "{long_name}");
        for code in [
            model::ErrorCode::Rejected,
            model::ErrorCode::Unauthorized,
            model::ErrorCode::Unavailable,
            model::ErrorCode::Unsupported,
            model::ErrorCode::Internal,
        ] {
            let setting = |name| refusal_of(code, "no", name).setting().map(str::to_owned);
            assert_eq!(setting(Some("s3cr3t")), Some("[secret]".to_owned()), "{code:?}");
            assert_eq!((setting(None), setting(Some(""))), (None, None), "{code:?}");
        }
    }

    #[test]
    fn a_rate_limit_error_keeps_its_message_and_gets_the_default_wait() {
        let limited = refusal_of(model::ErrorCode::RateLimited, "locked: s3cr3t", None);
        let why = "locked: [secret]".to_owned();
        assert_eq!(limited, Refusal::TrackerRateLimited { why, retry_after_s: 60 });
    }
}
