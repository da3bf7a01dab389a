//! The data set: projects, test cases, executions and their logs, generated from a seed. The
//! assertions, steps and files of a log, and the lines of its robot's log, are generated for each
//! request and never stored.

mod artifacts;
mod build;
mod contents;
mod odd;

use uuid::Uuid;

use contents::CaseContent;

use super::dto::{
    CustomFieldValue, Label, Project, Requirement, TestCase, TestCaseLog, TestExecution, TestSet,
};
use super::seed::{FIRST_START_S, Seed, format_time};

pub(super) use artifacts::File;
pub(super) use build::unchanged_since;

const INITIAL_EXECUTIONS: usize = 3;
/// A project with this number of executions cannot run an execution again.
const EXECUTIONS_MAX: usize = 200;
/// Time between the starts of two consecutive executions of a project, seconds.
const EXECUTION_PERIOD_S: i64 = 6 * 3600;
/// Time between the starts of two consecutive tests of an execution, seconds.
const TEST_PERIOD_S: i64 = 90;
const TEST_DURATION_S: i64 = 61;

pub(super) struct DataSet {
    pub(super) seed: Seed,
    pub(super) projects: Vec<ProjectData>,
    /// The base URL of Test Manager.
    base_url: String,
}

pub(super) struct ProjectData {
    /// The project as the API shows it.
    pub(super) dto: Project,
    pub(super) requirements: Vec<Requirement>,
    pub(super) cases: Vec<CaseData>,
    pub(super) test_sets: Vec<TestSet>,
    pub(super) executions: Vec<TestExecution>,
    /// In the order of the executions.
    pub(super) logs: Vec<TestCaseLog>,
}

/// A test case, and the content from which its logs are generated.
pub(super) struct CaseData {
    /// The test case as the API shows it.
    pub(super) dto: TestCase,
    pub(super) requirement_id: Uuid,
    content: CaseContent,
}

impl DataSet {
    pub(super) fn new(seed: u64, base_url: &str) -> Self {
        let seed = Seed(seed);
        let mut data_set = Self { seed, projects: Vec::new(), base_url: base_url.to_owned() };
        for content in contents::all_project_contents() {
            let mut project = build::empty_project(seed, content);
            for _ in 0..INITIAL_EXECUTIONS {
                for set in project.test_sets.clone() {
                    data_set.add_execution(&mut project, &set);
                }
            }
            data_set.projects.push(project);
        }
        data_set
    }

    pub(super) fn project(&self, id: Uuid) -> Option<&ProjectData> {
        self.projects.iter().find(|project| project.dto.id == id)
    }

    pub(super) fn log(&self, id: Uuid) -> Option<(&ProjectData, &TestCaseLog)> {
        self.projects.iter().find_map(|project| Some((project, project.log(id)?)))
    }

    pub(super) fn set_defect(&mut self, log: Uuid, defect: Uuid) {
        let logs = self.projects.iter_mut().flat_map(|project| &mut project.logs);
        logs.filter(|it| it.id == log).for_each(|log| log.defect_id = Some(defect));
    }

    /// Executes the test set of an execution again, with the same results, and returns the id of
    /// the new execution. `None` if the execution does not exist, or if its project is full.
    pub(super) fn run_again(&mut self, execution: Uuid) -> Option<Uuid> {
        let has_execution = |project: &ProjectData| project.execution(execution).is_some();
        let index = self.projects.iter().position(has_execution)?;
        let mut project = self.projects.remove(index);
        let set_id = project.execution(execution).map(|execution| execution.test_set_id);
        let set = project.test_sets.iter().find(|set| Some(set.id) == set_id).cloned();
        let is_full = project.executions.len() >= EXECUTIONS_MAX;
        let new_execution =
            set.filter(|_| !is_full).map(|set| self.add_execution(&mut project, &set));
        self.projects.insert(index, project);
        new_execution
    }

    /// Returns the address of the page with the result of a test case in an execution.
    pub(super) fn log_url(&self, project: &ProjectData, log: &TestCaseLog) -> String {
        let (base, prefix) = (&self.base_url, &project.dto.project_prefix);
        let (execution, case) = (log.test_execution_id, log.test_case_id);
        format!("{base}/{prefix}/testexecution-results/{execution}/{case}")
    }

    /// Adds the next execution of a test set, with a log for each test.
    fn add_execution(&self, project: &mut ProjectData, set: &TestSet) -> Uuid {
        let number = project.executions.len();
        let key = format!("{}/{number}", project.dto.project_prefix);
        let start = FIRST_START_S + EXECUTION_PERIOD_S * i64::try_from(number).unwrap_or_default();
        let id = self.seed.id("execution", &key);
        let mut logs = Vec::new();
        let mut next_start = start;
        for case in &project.cases {
            let variations = case.content.variations.iter().map(Some);
            let variations: Vec<_> = match case.content.variations.is_empty() {
                true => vec![None],
                false => variations.collect(),
            };
            for variation in variations {
                let mut log = self.new_log(case, id, variation, next_start);
                next_start += TEST_PERIOD_S;
                log.run_id = number + 1;
                log.detail_link = Some(self.log_url(project, &log));
                logs.push(log);
            }
        }
        project.executions.push(TestExecution {
            id,
            project_id: project.dto.id,
            name: format!("{} #{}", set.name, number + 1),
            description: None,
            test_set_id: set.id,
            test_set_obj_key: set.obj_key.clone(),
            execution_start: format_time(start),
            execution_finished: format_time(next_start),
            reporting_date: None,
            source: "Orchestrator".to_owned(),
            source_details: Some("Simulated schedule".to_owned()),
            enable_coverage: false,
            enforce_execution_order: true,
            status: "Finished".to_owned(),
            has_tests_from_multiple_automation_projects: false,
            execution_type: "Automated".to_owned(),
            run_id: number + 1,
            duration: u64::try_from(next_start - start).unwrap_or_default(),
            test_set_schedule_id: None,
            audit: unchanged_since(start),
        });
        project.logs.extend(logs);
        id
    }

    /// `start` is in seconds since 1970.
    fn new_log(
        &self,
        case: &CaseData,
        execution: Uuid,
        variation: Option<&String>,
        start: i64,
    ) -> TestCaseLog {
        let (content, dto) = (&case.content, &case.dto);
        let key = format!("{execution}/{}/{}", dto.id, variation.map_or("-", String::as_str));
        let id = self.seed.id("log", &key);
        let is_last = variation == content.variations.last();
        let failure = content.failure.as_ref().filter(|_| is_last || content.all_variations_fail);
        let failure = failure.map(|failure| match variation {
            Some(variation) => format!("{failure} (row {variation:?})"),
            None => failure.clone(),
        });
        let has_failed = failure.is_some();
        let is_manual = !content.steps.is_empty();
        let result = if has_failed { "Failed" } else { "Passed" }.to_owned();
        let if_automated = |text: String| Some(text).filter(|_| !is_manual);
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
            has_error: has_failed,
            info: failure,
            execution_type: if is_manual { "Manual" } else { "Automated" }.to_owned(),
            execution_start: format_time(start),
            execution_end: format_time(start + TEST_DURATION_S),
            executed_by: if is_manual { "tester@test.example" } else { "robot\\runner" }.to_owned(),
            robot_name: if_automated(self.seed.choose("robot", &key, &["Robot-01", "Robot-02"])),
            host_machine_name: if_automated(self.seed.choose(
                "host",
                &key,
                &["WIN-RUN-7", "WIN-RUN-8"],
            )),
            runtime_type: if_automated("Testing".to_owned()),
            input_arguments: if_automated(artifacts::input_arguments(variation)),
            output_arguments: if_automated(artifacts::output_arguments(self.seed, &key)),
            job_key: Some(self.seed.id("job", &key)).filter(|_| !is_manual),
            automation_project_name: dto.automation_project_name.clone(),
            automation_test_case_name: dto.automation_test_case_name.clone(),
            test_case_version: dto.version.clone(),
            detail_link: None,
            defect_id: None,
            run_id: 0,
            pre_condition: content.pre_condition.clone(),
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

    pub(super) fn logs_of_execution(&self, execution: Uuid) -> impl Iterator<Item = &TestCaseLog> {
        self.logs.iter().filter(move |log| log.test_execution_id == execution)
    }

    /// Only test cases have labels.
    pub(super) fn labels(&self, seed: Seed, object: Uuid) -> Vec<Label> {
        let labels = self.case(object).map(|case| case.content.labels.as_slice());
        let label = |(name, index): (&String, usize)| Label {
            id: seed.id("label", format!("{object}/{index}")),
            object_id: object,
            object_type: "TestCase".to_owned(),
            name: name.clone(),
        };
        labels.unwrap_or_default().iter().zip(0..).map(label).collect()
    }

    /// Returns the values of the custom fields of all test cases.
    pub(super) fn custom_fields(&self, seed: Seed) -> Vec<CustomFieldValue> {
        let fields_of = |case: &CaseData| {
            let id = case.dto.id;
            let field =
                move |((name, value), index): (&(String, String), usize)| CustomFieldValue {
                    id: seed.id("field", format!("{id}/{index}")),
                    object_id: id,
                    object_type: "TestCase".to_owned(),
                    name: name.clone(),
                    value: value.clone(),
                };
            case.content.custom_fields.iter().zip(0..).map(field).collect::<Vec<_>>()
        };
        self.cases.iter().flat_map(fields_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_only_failed_tests_have_files_and_a_failure() {
        let data_set = DataSet::new(1, "http://localhost/tm");
        let mut ids = BTreeSet::new();
        for project in &data_set.projects {
            for log in &project.logs {
                let case = project.case(log.test_case_id).expect("a test case");
                assert!(ids.insert(log.id), "{} is not unique", log.id);
                let files = data_set.attachments(case, log);
                assert!(files.iter().all(|file| ids.insert(file.id)));
                assert_eq!(log.info.is_some(), log.has_error);
                assert!(files.is_empty() || log.has_error);
                let failed = data_set.assertions(log).iter().filter(|it| !it.succeeded).count();
                let failed_steps =
                    data_set.step_logs(case, log).iter().filter(|it| it.has_error).count();
                assert_eq!(failed + failed_steps, usize::from(log.has_error), "{}", case.dto.name);
            }
        }
        assert!(ids.len() > 200, "only {} ids", ids.len());
    }

    #[test]
    fn an_execution_can_be_run_again_until_its_project_has_too_many_executions() {
        let mut data_set = DataSet::new(1, "http://localhost/tm");
        let first = data_set.projects[0].executions[0].id;
        let count = |data_set: &DataSet| data_set.projects[0].executions.len();
        while count(&data_set) < EXECUTIONS_MAX {
            assert!(data_set.run_again(first).is_some());
        }
        assert_eq!(data_set.run_again(first), None);
        assert_eq!((count(&data_set), data_set.projects.len()), (EXECUTIONS_MAX, 3));
        assert_eq!(data_set.run_again(Uuid::nil()), None);
    }
}
