//! Checks the names in templates, and finds which parts of the data they need.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::nearest;

use super::Subject;
use super::engine::TemplateError;
use super::engine::line_and_column;

/// The names that a template may use, except `attachments`, each with the part of the data that
/// contains the value; `None` if no part is fetched for the value.
const SUBJECT_OF_NAME: [(&str, Option<Subject>); 17] = [
    ("test_execution_id", None),
    ("test_case_id", None),
    ("variation_id", None),
    ("link", None),
    ("gaps", None),
    ("project", Some(Subject::Project)),
    ("test_case", Some(Subject::TestCase)),
    ("execution", Some(Subject::TestExecution)),
    ("test_set", Some(Subject::TestSet)),
    ("log", Some(Subject::TestCaseLog)),
    ("assertions", Some(Subject::Assertions)),
    ("robot_logs", Some(Subject::RobotLogs)),
    ("steps", Some(Subject::Steps)),
    ("requirements", Some(Subject::Requirements)),
    ("labels", Some(Subject::Labels)),
    ("custom_fields", Some(Subject::CustomFields)),
    ("history", Some(Subject::History)),
];

/// The name `attachments` needs two parts of the data: screenshots are found through the
/// assertions.
const SUBJECTS_OF_ATTACHMENTS: (&str, [Subject; 2]) =
    ("attachments", [Subject::Assertions, Subject::Attachments]);

/// Returns the parts of the data that contain the values of these names.
pub(super) fn subjects(names: &[String]) -> BTreeSet<Subject> {
    let mut subjects = BTreeSet::new();
    for name in names {
        let member = name.split('.').next().unwrap_or_default();
        subjects.extend(
            SUBJECT_OF_NAME.iter().filter(|(name, _)| *name == member).filter_map(|entry| entry.1),
        );
        if member == SUBJECTS_OF_ATTACHMENTS.0 {
            subjects.extend(SUBJECTS_OF_ATTACHMENTS.1);
        }
    }
    subjects
}

/// Finds the first of the `names` that the data never contains. `example` contains every allowed
/// name.
pub(super) fn find_unknown_name(
    source: &str,
    names: &[String],
    example: &Value,
) -> Option<TemplateError> {
    names.iter().find_map(|name| {
        let (mut value, mut path) = (example, String::new());
        for member in name.split('.') {
            // Lists and texts have no members with names, so the rest of the name is not checked.
            let members = value.as_object()?;
            let Some(next) = members.get(member) else {
                let hint = nearest(member, members.keys().map(String::as_str))
                    .map(|(near, _)| format!("; did you mean `{path}{near}`?"));
                let reason =
                    format!("the data has no `{path}{member}`{}", hint.unwrap_or_default());
                let position = source.find(member).map(|byte| line_and_column(source, byte));
                return Some(TemplateError { position, reason });
            };
            path.push_str(member);
            path.push('.');
            value = next;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use crate::report::engine;
    use crate::report::sample_test_data;

    use super::*;

    fn unknown_name_in(source: &str) -> Option<String> {
        let example = serde_json::to_value(sample_test_data()).expect("JSON");
        let names = engine::used_names(source).expect("a template");
        find_unknown_name(source, &names, &example).map(|error| error.to_string())
    }

    #[test]
    fn the_names_for_templates_are_the_members_of_the_data() {
        let example = serde_json::to_value(sample_test_data()).expect("JSON");
        let mapped =
            SUBJECT_OF_NAME.iter().map(|(name, _)| *name).chain([SUBJECTS_OF_ATTACHMENTS.0]);
        let mapped: BTreeSet<_> = mapped.collect();
        let members: BTreeSet<_> =
            example.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, mapped);
    }

    #[test]
    fn an_unknown_name_is_reported_with_its_position() {
        for (source, expected) in [
            ("{{ test_case.name }}{% for step in steps %}{{ step.x }}{% endfor %}", None),
            ("{% for n in range(3) %}{{ n }}{{ loop.index }}{% endfor %}", None),
            (
                "a\n {{ test_cas.name }}",
                Some("line 2, column 5: the data has no `test_cas`; did you mean `test_case`?"),
            ),
            (
                "{{ log.reslt }}",
                Some("line 1, column 8: the data has no `log.reslt`; did you mean `log.result`?"),
            ),
        ] {
            assert_eq!(unknown_name_in(source).as_deref(), expected, "{source}");
        }
    }

    #[test]
    fn only_the_subjects_of_used_names_are_needed() {
        let names =
            engine::used_names("{{ log.info or link }} {{ labels|join }}").expect("a template");
        assert_eq!(subjects(&names), BTreeSet::from([Subject::TestCaseLog, Subject::Labels]));
    }
}
