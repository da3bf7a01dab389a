//! Checks the names in templates, and finds which parts of the data they need.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::nearest;

use super::Subject;
use super::engine::TemplateError;
use super::engine::position;

/// The names that a template may use, and the part of the data to fetch for each.
const MEMBERS: [(&str, Option<Subject>); 17] = [
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

/// Another name: the files may include screenshots, so it also needs the assertions.
const ATTACHMENTS: (&str, [Subject; 2]) =
    ("attachments", [Subject::Assertions, Subject::Attachments]);

/// The parts of the data that these names need.
pub(super) fn subjects(names: &[String]) -> BTreeSet<Subject> {
    let mut subjects = BTreeSet::new();
    for name in names {
        let member = name.split('.').next().unwrap_or_default();
        subjects.extend(MEMBERS.iter().filter(|(it, _)| *it == member).filter_map(|it| it.1));
        if member == ATTACHMENTS.0 {
            subjects.extend(ATTACHMENTS.1);
        }
    }
    subjects
}

/// Finds the first name that the data never has. `example` contains every name that is allowed.
pub(super) fn unknown(source: &str, names: &[String], example: &Value) -> Option<TemplateError> {
    names.iter().find_map(|name| {
        let (mut known, mut path) = (example, String::new());
        for member in name.split('.') {
            // Lists and texts have no members with names, so the rest of the name is not checked.
            let members = known.as_object()?;
            let Some(next) = members.get(member) else {
                let hint = nearest(member, members.keys().map(String::as_str))
                    .map(|(near, _)| format!("; did you mean `{path}{near}`?"));
                let reason = format!("there is no `{path}{member}`{}", hint.unwrap_or_default());
                let at = source.find(member).map(|byte| position(source, byte));
                return Some(TemplateError { at, reason });
            };
            path.push_str(member);
            path.push('.');
            known = next;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use crate::report::engine;
    use crate::report::sample;

    use super::*;

    fn unknown_in(source: &str) -> Option<String> {
        let example = serde_json::to_value(sample()).expect("JSON");
        let names = engine::names(source).expect("a template");
        unknown(source, &names, &example).map(|error| error.to_string())
    }

    #[test]
    fn every_member_of_the_data_has_its_subject() {
        let example = serde_json::to_value(sample()).expect("JSON");
        let known = MEMBERS.iter().map(|(name, _)| *name).chain([ATTACHMENTS.0]);
        let known: BTreeSet<_> = known.collect();
        let members: BTreeSet<_> =
            example.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, known);
    }

    #[test]
    fn a_name_that_the_data_never_has_is_reported_where_it_is() {
        for (source, expected) in [
            ("{{ test_case.name }}{% for it in steps %}{{ it.x }}{% endfor %}", None),
            ("{% for n in range(3) %}{{ n }}{{ loop.index }}{% endfor %}", None),
            (
                "a\n {{ test_cas.name }}",
                Some("line 2, column 5: there is no `test_cas`; did you mean `test_case`?"),
            ),
            (
                "{{ log.reslt }}",
                Some("line 1, column 8: there is no `log.reslt`; did you mean `log.result`?"),
            ),
        ] {
            assert_eq!(unknown_in(source).as_deref(), expected, "{source}");
        }
    }

    #[test]
    fn what_is_not_used_is_not_fetched() {
        let names = engine::names("{{ log.info or link }} {{ labels|join }}").expect("a template");
        assert_eq!(subjects(&names), BTreeSet::from([Subject::TestCaseLog, Subject::Labels]));
    }
}
