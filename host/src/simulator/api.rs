//! The paths of Test Manager's REST API that the stand-in answers. No request to them changes the
//! data.
//!
//! `known_api.json` lists what is known or assumed of the real API; a test compares it with
//! `ROUTES` and with the members of the answers.

mod artifacts;
mod cases;
mod executions;
mod logs;
mod projects;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::data::{CaseData, DataSet, File, ProjectData};
use super::dto::RequestedPage;
use super::faults::Faults;

const DEFAULT_PAGE_ITEMS: usize = 50;
const PAGE_ITEMS_MAX: usize = 1000;

pub(super) struct Route {
    /// The path below `…/testmanager_`. A segment in braces is a parameter.
    pub(super) path: &'static str,
    /// The parameters of the query that have an effect. The stand-in ignores other parameters.
    pub(super) parameters: &'static [&'static str],
    /// The family of scopes of which the token must have one; empty if any valid token is accepted.
    pub(super) scope_family: &'static str,
    /// `None` is the answer 404, usually for a record that does not exist.
    pub(super) answer: fn(&ApiRequest<'_>) -> Option<Reply>,
}

/// The parameters for a list in which a request can search.
const LIST_PARAMETERS: &[&str] = &["search", "top", "skip", "orderBy"];
/// The parameters for a list in which no request can search.
const PAGE_PARAMETERS: &[&str] = &["top", "skip", "orderBy"];

const fn route(
    path: &'static str,
    parameters: &'static [&'static str],
    scope_family: &'static str,
    answer: fn(&ApiRequest<'_>) -> Option<Reply>,
) -> Route {
    Route { path, parameters, scope_family, answer }
}

const PROJECT_SCOPE: &str = "TM.Projects";
const EXECUTION_SCOPE: &str = "TM.TestExecutions";
const TEST_CASE_SCOPE: &str = "TM.TestCases";
const TEST_SET_SCOPE: &str = "TM.TestSets";
const REQUIREMENT_SCOPE: &str = "TM.Requirements";
const FILE_SCOPE: &str = "TM.Attachments";
const CUSTOM_FIELD_SCOPE: &str = "TM.CustomFieldValues";
const DEFECT_SCOPE: &str = "TM.Defects";

/// All paths of the API that the stand-in answers. The only method is GET.
pub(super) const ROUTES: [Route; 37] = [
    route("/api/serverinfo", &[], "", projects::server_info),
    route("/api/v2/projects", LIST_PARAMETERS, PROJECT_SCOPE, projects::list_projects),
    route("/api/v2/projects/{id}", &[], PROJECT_SCOPE, projects::project_by_id),
    route(
        "/api/v2/projects/prefix/{projectPrefix}",
        &[],
        PROJECT_SCOPE,
        projects::project_by_prefix,
    ),
    route(
        "/api/v2/{projectId}/testexecutions",
        LIST_PARAMETERS,
        EXECUTION_SCOPE,
        executions::list_executions,
    ),
    route(
        "/api/v2/{projectId}/testexecutions/{id}",
        &[],
        EXECUTION_SCOPE,
        executions::execution_by_id,
    ),
    route(
        "/api/v2/{projectId}/testexecutions/{id}/withstats",
        &[],
        EXECUTION_SCOPE,
        executions::execution_with_statistics,
    ),
    route(
        "/api/v2/{projectId}/testsets",
        LIST_PARAMETERS,
        TEST_SET_SCOPE,
        executions::list_test_sets,
    ),
    route("/api/v2/{projectId}/testsets/{id}", &[], TEST_SET_SCOPE, executions::test_set_by_id),
    route(
        "/api/v2/{projectId}/testcaselogs/testexecution/{testExecutionId}/paged",
        &["search", "top", "skip", "orderBy", "onlyFailed"],
        EXECUTION_SCOPE,
        logs::list_logs_of_execution,
    ),
    route("/api/v2/{projectId}/testcaselogs/{id}", &[], EXECUTION_SCOPE, logs::log_by_id),
    route(
        "/api/v2/{projectId}/testcaselogs/testcase/{testCaseId}/history",
        PAGE_PARAMETERS,
        EXECUTION_SCOPE,
        logs::list_logs_of_case,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/testcase/{testCaseId}/paged",
        PAGE_PARAMETERS,
        EXECUTION_SCOPE,
        logs::list_logs_of_case,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/{id}/assertions",
        &[],
        EXECUTION_SCOPE,
        artifacts::list_assertions,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/{id}/assertions/markdown",
        &[],
        EXECUTION_SCOPE,
        artifacts::download_assertions,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/{id}/logs",
        &[],
        EXECUTION_SCOPE,
        artifacts::download_robot_log,
    ),
    route(
        "/api/v2/{projectId}/testcaselogartifacts/{id}/assertions",
        &[],
        EXECUTION_SCOPE,
        artifacts::list_assertions,
    ),
    route(
        "/api/v2/{projectId}/testcaselogartifacts/{id}/assertions/{assertionId}/downloadscreenshot",
        &[],
        EXECUTION_SCOPE,
        artifacts::download_screenshot,
    ),
    route(
        "/api/v2/{projectId}/orchestrator/testexecution/{id}/robotlogs/paged",
        &["top", "skip", "orderBy", "testcaseid"],
        EXECUTION_SCOPE,
        artifacts::list_robot_logs,
    ),
    route(
        "/api/v2/{projectId}/teststeplogs",
        &["testCaseLogId"],
        EXECUTION_SCOPE,
        artifacts::list_step_logs,
    ),
    route("/api/v2/{projectId}/teststeps/testcase/{id}", &[], TEST_CASE_SCOPE, cases::list_steps),
    route(
        "/api/v2/{projectId}/attachments/{objectType}/{id}/all",
        &[],
        FILE_SCOPE,
        artifacts::list_attachments,
    ),
    route(
        "/api/v2/{projectId}/attachments/{objectType}/{id}/download",
        &[],
        FILE_SCOPE,
        artifacts::download_file,
    ),
    route(
        "/api/v2/{projectId}/attachments/{id}/download",
        &[],
        FILE_SCOPE,
        artifacts::download_file,
    ),
    route("/api/v2/{projectId}/testcases", LIST_PARAMETERS, TEST_CASE_SCOPE, cases::list_cases),
    route("/api/v2/{projectId}/testcases/{id}", &[], TEST_CASE_SCOPE, cases::case_by_id),
    route(
        "/api/v2/{projectId}/testcases/objkey/{objKey}",
        &[],
        TEST_CASE_SCOPE,
        cases::case_by_key,
    ),
    route(
        "/api/v2/{projectId}/testcases/{id}/assignedrequirements",
        &[],
        REQUIREMENT_SCOPE,
        cases::list_assigned_requirements,
    ),
    route(
        "/api/v2/{projectId}/requirements",
        LIST_PARAMETERS,
        REQUIREMENT_SCOPE,
        cases::list_requirements,
    ),
    route(
        "/api/v2/{projectId}/requirements/{id}",
        &[],
        REQUIREMENT_SCOPE,
        cases::requirement_by_id,
    ),
    route(
        "/api/v2/{projectId}/customfieldvalues/{objectType}/all",
        &["top", "skip"],
        CUSTOM_FIELD_SCOPE,
        cases::list_custom_fields,
    ),
    route(
        "/api/v2/{projectId}/objectlabels/{objectType}/{objectId}/all",
        &[],
        TEST_CASE_SCOPE,
        cases::list_labels,
    ),
    route("/api/v2/{projectId}/defects", LIST_PARAMETERS, DEFECT_SCOPE, projects::list_defects),
    route("/api/v2/{projectId}/defects/{id}", &[], DEFECT_SCOPE, projects::defect_by_id),
    route(
        "/api/v2/{projectId}/defects/{id}/testcase",
        &[],
        DEFECT_SCOPE,
        projects::test_case_of_defect,
    ),
    route(
        "/api/v2/{projectId}/defects/{id}/testcaselog",
        &[],
        DEFECT_SCOPE,
        projects::log_of_defect,
    ),
    route(
        "/api/v2/{projectId}/defects/{id}/testexecution",
        &[],
        DEFECT_SCOPE,
        projects::test_execution_of_defect,
    ),
];

pub(super) enum Reply {
    Json(Value),
    File(File),
    /// A file with this name and number of bytes. It is generated in chunks, because it may be
    /// larger than the memory.
    LargeFile(String, u64),
    /// A redirect to this address.
    Redirect(String),
}

/// An API request that its token permits.
pub(super) struct ApiRequest<'a> {
    pub(super) data_set: &'a DataSet,
    pub(super) faults: &'a Faults,
    pub(super) defects: &'a BTreeMap<Uuid, super::dto::Defect>,
    pub(super) files_url: &'a str,
    path_segments: HashMap<String, String>,
    /// By name in lower case. Test Manager ignores the case of names.
    query_parameters: HashMap<String, String>,
}

impl<'a> ApiRequest<'a> {
    /// Returns `None` if `top`, `skip` or `testcaseid` in the query is not valid.
    pub(super) fn new(
        route: &Route,
        (data_set, faults): (&'a DataSet, &'a Faults),
        (defects, files_url): (&'a BTreeMap<Uuid, super::dto::Defect>, &'a str),
        path_segments: HashMap<String, String>,
        query: &str,
    ) -> Option<Self> {
        let parameters = url::form_urlencoded::parse(query.as_bytes());
        let known_parameters = parameters.filter_map(|(name, value)| {
            let is_known = |parameter: &&str| parameter.eq_ignore_ascii_case(&name);
            route.parameters.iter().any(is_known).then(|| (name.to_lowercase(), value.into_owned()))
        });
        let query_parameters: HashMap<_, _> = known_parameters.collect();
        let value = |name: &str| query_parameters.get(name);
        let is_number = |name: &str| value(name).is_none_or(|text| text.parse::<u32>().is_ok());
        let is_id = |name: &str| value(name).is_none_or(|text| text.parse::<Uuid>().is_ok());
        let is_valid = is_number("top") && is_number("skip") && is_id("testcaseid");
        is_valid.then_some(Self {
            data_set,
            faults,
            defects,
            files_url,
            path_segments,
            query_parameters,
        })
    }

    fn project(&self) -> Option<&'a ProjectData> {
        self.data_set.project(self.path_id("projectId")?)
    }

    /// Returns a test case of the project that the path names.
    fn case(&self, id: Uuid) -> Option<&'a CaseData> {
        self.project()?.case(id)
    }

    fn path_id(&self, name: &str) -> Option<Uuid> {
        self.path_segment(name)?.parse().ok()
    }

    fn path_segment(&self, name: &str) -> Option<&str> {
        self.path_segments.get(name).map(String::as_str)
    }

    fn query_parameter(&self, name: &str) -> Option<&str> {
        self.query_parameters.get(&name.to_lowercase()).map(String::as_str)
    }

    fn requested_page(&self) -> RequestedPage {
        let number = |name| self.query_parameter(name).and_then(|text| text.parse().ok());
        let top = number("top").unwrap_or(DEFAULT_PAGE_ITEMS).clamp(1, PAGE_ITEMS_MAX);
        RequestedPage { skip: number("skip").unwrap_or(0), top }
    }

    /// Returns the number of items that the query finds, and those on the requested page.
    fn select_page<T: Serialize>(&self, items: impl IntoIterator<Item = T>) -> (usize, Vec<Value>) {
        let mut values: Vec<_> = items.into_iter().map(|item| json!(item)).collect();
        if let Some(search) = self.query_parameter("search").filter(|search| !search.is_empty()) {
            let search = search.to_lowercase();
            values.retain(|value| searched_text(value).contains(&search));
        }
        if let Some(order) = self.query_parameter("orderBy") {
            sort_by_member(&mut values, order);
        }
        let (total, page) = (values.len(), self.requested_page());
        (total, values.into_iter().skip(page.skip).take(page.top).collect())
    }

    fn list_reply<T: Serialize>(&self, items: impl IntoIterator<Item = T>) -> Option<Reply> {
        let (total, values) = self.select_page(items);
        Some(Reply::Json(self.requested_page().list_answer(total, values)))
    }
}

fn json_reply(item: &impl Serialize) -> Option<Reply> {
    Some(Reply::Json(json!(item)))
}

/// The text in which a search searches, in lower case.
fn searched_text(value: &Value) -> String {
    let texts = [value.get("name"), value.get("objKey"), value.pointer("/testCase/name")];
    let texts = texts.into_iter().flatten().filter_map(Value::as_str);
    texts.collect::<Vec<_>>().join("\n").to_lowercase()
}

/// Sorts JSON objects by a member. `order` is the name of the member, or the name and the word
/// `desc` for the reverse order; the case of both is ignored.
fn sort_by_member(values: &mut [Value], order: &str) {
    let mut words = order.split_whitespace();
    let member = words.next().unwrap_or_default();
    let key = |value: &Value| {
        let members = value.as_object().into_iter().flatten();
        let mut found = members.filter(|(name, _)| name.eq_ignore_ascii_case(member));
        found.next().map(|(_, value)| value.as_str().map_or(value.to_string(), str::to_owned))
    };
    values.sort_by_cached_key(key);
    if words.next().is_some_and(|word| word.eq_ignore_ascii_case("desc")) {
        values.reverse();
    }
}
