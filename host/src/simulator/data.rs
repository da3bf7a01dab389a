//! The data set: projects, test cases, executions and their logs. It is made from a seed, and grows
//! when a person runs an execution again. What belongs to one log is made when it is asked for.

mod artifacts;
mod odd;
mod scripts;

use uuid::Uuid;

use scripts::{CaseScript, ProjectScript};

use super::dto::{
    Audit, CustomFieldValue, Label, Project, Requirement, TestCase, TestCaseLog, TestExecution,
    TestSet,
};
use super::seed::{FIRST_START_S, Seed, instant};

pub(super) use artifacts::File;

/// How many times each test set was executed at the start.
const EXECUTIONS: usize = 3;
/// Maximum number of executions of a project; then none can be run again.
const EXECUTIONS_MAX: usize = 200;
/// Seconds between the starts of two executions of a project, and of two tests of an execution.
const EXECUTION_PERIOD_S: i64 = 6 * 3600;
const TEST_PERIOD_S: i64 = 90;
const TEST_DURATION_S: i64 = 61;

/// All data.
pub(super) struct World {
    pub(super) seed: Seed,
    pub(super) projects: Vec<ProjectData>,
    /// The base URL, for the links of logs.
    base_url: String,
}

/// A project and all that is in it.
pub(super) struct ProjectData {
    pub(super) dto: Project,
    pub(super) requirements: Vec<Requirement>,
    pub(super) cases: Vec<CaseData>,
    pub(super) test_sets: Vec<TestSet>,
    pub(super) executions: Vec<TestExecution>,
    /// In the order of the executions.
    pub(super) logs: Vec<TestCaseLog>,
}

/// A test case, and what its logs are made from.
pub(super) struct CaseData {
    pub(super) dto: TestCase,
    pub(super) requirement: Uuid,
    script: CaseScript,
}

impl World {
    /// Makes the data set of a seed.
    pub(super) fn new(seed: u64, base_url: &str) -> Self {
        let seed = Seed(seed);
        let mut world = Self { seed, projects: Vec::new(), base_url: base_url.to_owned() };
        for script in scripts::projects() {
            let mut project = empty_project(seed, script);
            for _ in 0..EXECUTIONS {
                for set in project.test_sets.clone() {
                    world.execute(&mut project, &set);
                }
            }
            world.projects.push(project);
        }
        world
    }

    pub(super) fn project(&self, id: Uuid) -> Option<&ProjectData> {
        self.projects.iter().find(|project| project.dto.id == id)
    }

    /// The log of this id, with its project.
    pub(super) fn log(&self, id: Uuid) -> Option<(&ProjectData, &TestCaseLog)> {
        self.projects.iter().find_map(|project| Some((project, project.log(id)?)))
    }

    /// Marks a log as having this defect.
    pub(super) fn set_defect(&mut self, log: Uuid, defect: Uuid) {
        let logs = self.projects.iter_mut().flat_map(|project| &mut project.logs);
        logs.filter(|known| known.id == log).for_each(|log| log.defect_id = Some(defect));
    }

    /// Executes the test set of an execution again, with the same results. `None` if there is no
    /// such execution, or there are too many.
    pub(super) fn run_again(&mut self, execution: Uuid) -> Option<Uuid> {
        let has_it = |project: &ProjectData| project.execution(execution).is_some();
        let at = self.projects.iter().position(has_it)?;
        let mut project = self.projects.remove(at);
        let set = project.execution(execution).map(|execution| execution.test_set_id);
        let set = project.test_sets.iter().find(|known| Some(known.id) == set).cloned();
        let is_full = project.executions.len() >= EXECUTIONS_MAX;
        let made = set.filter(|_| !is_full).map(|set| self.execute(&mut project, &set));
        self.projects.insert(at, project);
        made
    }

    /// The page of a test case's result in an execution.
    pub(super) fn link(&self, project: &ProjectData, log: &TestCaseLog) -> String {
        let (base, prefix) = (&self.base_url, &project.dto.project_prefix);
        let (execution, case) = (log.test_execution_id, log.test_case_id);
        format!("{base}/{prefix}/testexecution-results/{execution}/{case}")
    }

    /// Adds the next execution of a test set, with its logs.
    fn execute(&self, project: &mut ProjectData, set: &TestSet) -> Uuid {
        let number = project.executions.len();
        let key = format!("{}/{number}", project.dto.project_prefix);
        let start = FIRST_START_S + EXECUTION_PERIOD_S * i64::try_from(number).unwrap_or_default();
        let id = self.seed.id("execution", &key);
        let mut logs = Vec::new();
        for (case, at) in project.cases.iter().zip(0i64..) {
            let variations = case.script.variations.iter().map(Some);
            let variations: Vec<_> = match case.script.variations.is_empty() {
                true => vec![None],
                false => variations.collect(),
            };
            for variation in variations {
                let mut log = self.log_of(case, id, variation, start + at * TEST_PERIOD_S);
                log.run_id = number + 1;
                log.detail_link = Some(self.link(project, &log));
                logs.push(log);
            }
        }
        let tests = i64::try_from(project.cases.len()).unwrap_or_default();
        let finish = start + tests * TEST_PERIOD_S;
        project.executions.push(TestExecution {
            id,
            project_id: project.dto.id,
            name: format!("{} #{}", set.name, number + 1),
            description: None,
            test_set_id: set.id,
            test_set_obj_key: set.obj_key.clone(),
            execution_start: instant(start),
            execution_finished: instant(finish),
            reporting_date: None,
            source: "Orchestrator".to_owned(),
            source_details: Some("Simulated schedule".to_owned()),
            enable_coverage: false,
            enforce_execution_order: true,
            status: "Finished".to_owned(),
            has_tests_from_multiple_automation_projects: false,
            execution_type: "Automated".to_owned(),
            run_id: number + 1,
            duration: u64::try_from(finish - start).unwrap_or_default(),
            test_set_schedule_id: None,
            audit: audit(start),
        });
        project.logs.extend(logs);
        id
    }

    fn log_of(
        &self,
        case: &CaseData,
        execution: Uuid,
        variation: Option<&String>,
        start: i64,
    ) -> TestCaseLog {
        let (script, dto) = (&case.script, &case.dto);
        let key = format!("{execution}/{}/{}", dto.id, variation.map_or("-", String::as_str));
        let id = self.seed.id("log", &key);
        let fails = script.failure.is_some() && variation == script.variations.last();
        let is_manual = !script.steps.is_empty();
        let result = if fails { "Failed" } else { "Passed" }.to_owned();
        let robot = |text: String| Some(text).filter(|_| !is_manual);
        TestCaseLog {
            id,
            project_id: dto.project_id,
            test_execution_id: execution,
            test_case_id: dto.id,
            test_case: dto.clone(),
            variation_id: variation.cloned(),
            original_result: None,
            business_result: result.clone(),
            result,
            has_error: fails,
            info: script.failure.clone().filter(|_| fails),
            execution_type: if is_manual { "Manual" } else { "Automated" }.to_owned(),
            execution_start: instant(start),
            execution_end: instant(start + TEST_DURATION_S),
            executed_by: if is_manual { "tester@test.example" } else { "robot\\runner" }.to_owned(),
            robot_name: robot(self.seed.choose("robot", &key, &["Robot-01", "Robot-02"])),
            host_machine_name: robot(self.seed.choose("host", &key, &["WIN-RUN-7", "WIN-RUN-8"])),
            runtime_type: robot("Testing".to_owned()),
            input_arguments: robot(artifacts::input_arguments(variation)),
            output_arguments: robot(artifacts::output_arguments(self.seed, &key)),
            job_key: Some(self.seed.id("job", &key)).filter(|_| !is_manual),
            automation_project_name: dto.automation_project_name.clone(),
            automation_test_case_name: dto.automation_test_case_name.clone(),
            test_case_version: dto.version.clone(),
            detail_link: None,
            defect_id: None,
            run_id: 0,
            pre_condition: script.pre_condition.clone(),
            post_condition: None,
            is_post_condition_met: None,
            due_date: None,
        }
    }
}

impl ProjectData {
    pub(super) fn execution(&self, id: Uuid) -> Option<&TestExecution> {
        self.executions.iter().find(|execution| execution.id == id)
    }

    pub(super) fn case(&self, id: Uuid) -> Option<&CaseData> {
        self.cases.iter().find(|case| case.dto.id == id)
    }

    pub(super) fn log(&self, id: Uuid) -> Option<&TestCaseLog> {
        self.logs.iter().find(|log| log.id == id)
    }

    pub(super) fn logs_of(&self, execution: Uuid) -> impl Iterator<Item = &TestCaseLog> {
        self.logs.iter().filter(move |log| log.test_execution_id == execution)
    }

    /// The labels of an object: of test cases only.
    pub(super) fn labels(&self, seed: Seed, object: Uuid) -> Vec<Label> {
        let labels = self.case(object).map(|case| case.script.labels.as_slice());
        let label = |(name, at): (&String, usize)| Label {
            id: seed.id("label", format!("{object}/{at}")),
            object_id: object,
            object_type: "TestCase".to_owned(),
            name: name.clone(),
        };
        labels.unwrap_or_default().iter().zip(0..).map(label).collect()
    }

    /// The custom fields of all test cases.
    pub(super) fn custom_fields(&self, seed: Seed) -> Vec<CustomFieldValue> {
        let of_case = |case: &CaseData| {
            let id = case.dto.id;
            let field = move |((name, value), at): (&(String, String), usize)| CustomFieldValue {
                id: seed.id("field", format!("{id}/{at}")),
                object_id: id,
                object_type: "TestCase".to_owned(),
                name: name.clone(),
                value: value.clone(),
            };
            case.script.fields.iter().zip(0..).map(field).collect::<Vec<_>>()
        };
        self.cases.iter().flat_map(of_case).collect()
    }
}

/// A project before its first execution.
fn empty_project(seed: Seed, script: ProjectScript) -> ProjectData {
    let prefix = script.prefix;
    let id = seed.id("project", prefix);
    let dto = Project {
        id,
        name: script.name.to_owned(),
        description: script.description.to_owned(),
        project_prefix: prefix.to_owned(),
        is_authorization_enabled: false,
        is_active: true,
        is_sap_configured: false,
        audit: audit(FIRST_START_S),
    };
    let names = script.requirements.iter().zip(1..);
    let requirement =
        |(name, number): (&&str, usize)| requirement(seed, id, format!("{prefix}:{number}"), name);
    let requirements: Vec<_> = names.map(requirement).collect();
    let last = script.requirements.len();
    let number_of_test_cases = script.cases.len();
    let cases = script.cases.into_iter().zip(last + 1..);
    let cases: Vec<_> = cases
        .map(|(script, number)| CaseData {
            dto: test_case(seed, id, format!("{prefix}:{number}"), &script),
            requirement: requirements
                .iter()
                .cycle()
                .nth(number)
                .map_or(Uuid::nil(), |requirement| requirement.id),
            script,
        })
        .collect();
    let sets = script.test_sets.iter().zip(last + cases.len() + 1..);
    let test_sets = sets.map(|(name, number)| TestSet {
        number_of_test_cases,
        ..test_set(seed, id, format!("{prefix}:{number}"), name)
    });
    let test_sets = test_sets.collect();
    ProjectData { dto, requirements, cases, test_sets, executions: Vec::new(), logs: Vec::new() }
}

fn requirement(seed: Seed, project_id: Uuid, obj_key: String, name: &str) -> Requirement {
    Requirement {
        id: seed.id("requirement", &obj_key),
        project_id,
        obj_key,
        name: name.to_owned(),
        description: "What the product must do.".to_owned(),
        container_id: None,
        foreign_reference: None,
        connector_requirement_id: None,
        audit: audit(FIRST_START_S),
    }
}

fn test_case(seed: Seed, project_id: Uuid, obj_key: String, script: &CaseScript) -> TestCase {
    let automated = |text: &str| Some(text.to_owned()).filter(|_| script.steps.is_empty());
    TestCase {
        id: seed.id("case", &obj_key),
        project_id,
        name: script.name.clone(),
        description: script.description.clone(),
        version: "1.0.0".to_owned(),
        pre_condition: script.pre_condition.clone(),
        input_params: None,
        automation_id: Some(seed.id("automation", &obj_key)).filter(|_| script.steps.is_empty()),
        automation_test_case_name: automated("Main.xaml"),
        automation_project_name: automated("Portal.Tests"),
        container_id: None,
        foreign_reference: None,
        connector_test_case_id: None,
        audit: audit(FIRST_START_S),
        obj_key,
    }
}

fn test_set(seed: Seed, project_id: Uuid, obj_key: String, name: &str) -> TestSet {
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
        audit: audit(FIRST_START_S),
    }
}

pub(super) fn audit(second: i64) -> Audit {
    Audit {
        created: instant(second),
        created_by: "lead@test.example".to_owned(),
        updated: instant(second),
        updated_by: "lead@test.example".to_owned(),
    }
}
