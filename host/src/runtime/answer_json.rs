//! Converts into JSON the values that exports return, for recordings and their comparison. Never
//! redacts a value.

use serde_json::{Value, json};

use crate::domain::{Choice, ChoicesPage, Counts, CurrentDefect, Defect, Refusal};
use crate::manifest::RawManifest;

use super::sandbox::ReturnedValue;

/// A value that an export returns.
pub trait AnswerJson {
    /// Returns the value as JSON; for a manifest, only its name and version.
    fn json(&self) -> Value;
}

/// Returns the outcome of a run as JSON: `{"ok": …}` with the value that the export returned, or
/// `{"error": …}` with the code and the text of the refusal.
pub fn outcome_json<T: AnswerJson>(outcome: &Result<T, Refusal>) -> Value {
    match outcome {
        Ok(answer) => json!({"ok": answer.json()}),
        Err(refusal) => {
            json!({"error": {"code": refusal.code().to_string(), "detail": refusal.to_string()}})
        }
    }
}

impl AnswerJson for Defect {
    fn json(&self) -> Value {
        let Self { key, title, link, status, priority, description } = self;
        json!({"key": key, "title": title, "link": link, "status": status, "priority": priority,
            "description": description})
    }
}

impl AnswerJson for Counts {
    fn json(&self) -> Value {
        let Self { open, closed, critical, moderate, critical_link } = self;
        json!({"open": open, "closed": closed, "critical": critical, "moderate": moderate,
            "critical_link": critical_link})
    }
}

impl AnswerJson for CurrentDefect {
    fn json(&self) -> Value {
        json!({"defect": self.defect.json(), "open": self.is_open})
    }
}

impl AnswerJson for ChoicesPage {
    fn json(&self) -> Value {
        let choice = |choice: &Choice| json!({"value": choice.value, "label": choice.label});
        let choices: Vec<_> = self.choices.iter().map(choice).collect();
        json!({"choices": choices, "more": self.has_more})
    }
}

impl AnswerJson for ReturnedValue {
    fn json(&self) -> Value {
        match self {
            Self::Manifest(manifest) => {
                json!({"name": manifest.name, "version": manifest.version.to_string()})
            }
            Self::CheckText(line) => line.json(),
            Self::Choices(page) => page.json(),
            Self::Defect(defect) => defect.json(),
            Self::FoundDefects(found) => found.json(),
            Self::Counts(counts) => counts.json(),
            Self::State(state) => state.json(),
            Self::HasComment(has_comment) => has_comment.json(),
            Self::AttachmentNames(names) => names.json(),
            Self::NoValue => Value::Null,
        }
    }
}

impl AnswerJson for RawManifest {
    fn json(&self) -> Value {
        json!({"name": self.name, "version": self.version})
    }
}

impl AnswerJson for String {
    fn json(&self) -> Value {
        Value::String(self.clone())
    }
}

impl AnswerJson for bool {
    fn json(&self) -> Value {
        Value::Bool(*self)
    }
}

impl AnswerJson for () {
    fn json(&self) -> Value {
        Value::Null
    }
}

impl<T: AnswerJson> AnswerJson for Vec<T> {
    fn json(&self) -> Value {
        self.iter().map(AnswerJson::json).collect()
    }
}

impl<T: AnswerJson> AnswerJson for Option<T> {
    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, AnswerJson::json)
    }
}
