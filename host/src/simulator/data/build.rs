//! Generates a project with its requirements, test cases and test sets. It does not add executions.

use uuid::Uuid;

use super::super::dto::{Audit, Project, Requirement, TestCase, TestSet};
use super::super::seed::{FIRST_START_S, Seed, format_time};
use super::contents::{CaseContent, ProjectContent};
use super::{CaseData, ProjectData};

pub(super) fn empty_project(seed: Seed, content: ProjectContent) -> ProjectData {
    let prefix = content.prefix;
    let id = seed.id("project", prefix);
    let dto = Project {
        id,
        name: content.name.to_owned(),
        description: content.description.to_owned(),
        project_prefix: prefix.to_owned(),
        is_authorization_enabled: false,
        is_active: true,
        is_sap_configured: false,
        audit: unchanged_since(FIRST_START_S),
    };
    let names = content.requirements.iter().zip(1..);
    let requirement = |(name, number): (&&str, usize)| {
        new_requirement(seed, id, format!("{prefix}:{number}"), name)
    };
    let requirements: Vec<_> = names.map(requirement).collect();
    let requirement_count = content.requirements.len();
    let number_of_test_cases = content.cases.len();
    let cases = content.cases.into_iter().zip(requirement_count + 1..);
    let cases: Vec<_> = cases
        .map(|(content, number)| CaseData {
            dto: new_test_case(seed, id, format!("{prefix}:{number}"), &content),
            requirement_id: requirements
                .iter()
                .cycle()
                .nth(number)
                .map_or(Uuid::nil(), |requirement| requirement.id),
            content,
        })
        .collect();
    let sets = content.test_sets.iter().zip(requirement_count + cases.len() + 1..);
    let test_sets = sets.map(|(name, number)| TestSet {
        number_of_test_cases,
        ..new_test_set(seed, id, format!("{prefix}:{number}"), name)
    });
    let test_sets = test_sets.collect();
    ProjectData { dto, requirements, cases, test_sets, executions: Vec::new(), logs: Vec::new() }
}

fn new_requirement(seed: Seed, project_id: Uuid, obj_key: String, name: &str) -> Requirement {
    Requirement {
        id: seed.id("requirement", &obj_key),
        project_id,
        obj_key,
        name: name.to_owned(),
        description: "What the product must do.".to_owned(),
        container_id: None,
        foreign_reference: None,
        connector_requirement_id: None,
        audit: unchanged_since(FIRST_START_S),
    }
}

fn new_test_case(seed: Seed, project_id: Uuid, obj_key: String, content: &CaseContent) -> TestCase {
    let automated = |text: &str| Some(text.to_owned()).filter(|_| content.steps.is_empty());
    TestCase {
        id: seed.id("case", &obj_key),
        project_id,
        name: content.name.clone(),
        description: content.description.clone(),
        version: "1.0.0".to_owned(),
        pre_condition: content.pre_condition.clone(),
        input_params: None,
        automation_id: Some(seed.id("automation", &obj_key)).filter(|_| content.steps.is_empty()),
        automation_test_case_name: automated("Main.xaml"),
        automation_project_name: automated("Portal.Tests"),
        container_id: None,
        foreign_reference: None,
        connector_test_case_id: None,
        audit: unchanged_since(FIRST_START_S),
        obj_key,
    }
}

fn new_test_set(seed: Seed, project_id: Uuid, obj_key: String, name: &str) -> TestSet {
    TestSet {
        id: seed.id("set", &obj_key),
        project_id,
        obj_key,
        name: name.to_owned(),
        description: String::new(),
        version: "1.0.0".to_owned(),
        number_of_test_cases: 0,
        source: "TestManager".to_owned(),
        source_details: None,
        external_test_set_id: None,
        enable_coverage: false,
        enforce_execution_order: true,
        audit: unchanged_since(FIRST_START_S),
    }
}

/// `second` is in seconds since 1970.
pub(in super::super) fn unchanged_since(second: i64) -> Audit {
    Audit {
        created: format_time(second),
        created_by: "lead@test.example".to_owned(),
        updated: format_time(second),
        updated_by: "lead@test.example".to_owned(),
    }
}
