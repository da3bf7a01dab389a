//! The paths of Test Manager's REST API that the stand-in answers. None of them changes anything.
//!
//! The test `the_stand_in_serves_only_the_known_api` compares this table, and the
//! members of the answers, with the known API.

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
use super::dto::Page;
use super::faults::Faults;

/// Number of items in one answer, if the request has no parameter `top`.
const DEFAULT_PAGE_ITEMS: usize = 50;
/// Maximum number of items in one answer.
const PAGE_ITEMS_MAX: usize = 1000;

/// One path of the API, and the function that answers it.
pub(super) struct Route {
    /// The path below `…/testmanager_`, with names in braces.
    pub(super) path: &'static str,
    /// The parameters of the query that have an effect; other parameters are ignored.
    pub(super) parameters: &'static [&'static str],
    /// The family of scopes that the token must have; if empty, any token is accepted.
    pub(super) scope: &'static str,
    /// Answers a request. Returns `None` if a record that the path names does not exist.
    pub(super) serve: fn(&ApiRequest<'_>) -> Option<Reply>,
}

const LIST_PARAMETERS: &[&str] = &["search", "top", "skip", "orderBy"];
const PAGE_PARAMETERS: &[&str] = &["top", "skip", "orderBy"];

const fn route(
    path: &'static str,
    parameters: &'static [&'static str],
    scope: &'static str,
    serve: fn(&ApiRequest<'_>) -> Option<Reply>,
) -> Route {
    Route { path, parameters, scope, serve }
}

const PROJECT_SCOPE: &str = "TM.Projects";
const EXECUTION_SCOPE: &str = "TM.TestExecutions";
const TEST_CASE_SCOPE: &str = "TM.TestCases";
const TEST_SET_SCOPE: &str = "TM.TestSets";
const REQUIREMENT_SCOPE: &str = "TM.Requirements";
const FILE_SCOPE: &str = "TM.Attachments";
const CUSTOM_FIELD_SCOPE: &str = "TM.CustomFieldValues";
const DEFECT_SCOPE: &str = "TM.Defects";

/// All paths. The only method is GET.
pub(super) const ROUTES: [Route; 37] = [
    route("/api/serverinfo", &[], "", projects::server_info),
    route("/api/v2/projects", LIST_PARAMETERS, PROJECT_SCOPE, projects::list),
    route("/api/v2/projects/{id}", &[], PROJECT_SCOPE, projects::by_id),
    route("/api/v2/projects/prefix/{projectPrefix}", &[], PROJECT_SCOPE, projects::by_prefix),
    route("/api/v2/{projectId}/testexecutions", LIST_PARAMETERS, EXECUTION_SCOPE, executions::list),
    route("/api/v2/{projectId}/testexecutions/{id}", &[], EXECUTION_SCOPE, executions::by_id),
    route(
        "/api/v2/{projectId}/testexecutions/{id}/withstats",
        &[],
        EXECUTION_SCOPE,
        executions::by_id_with_statistics,
    ),
    route("/api/v2/{projectId}/testsets", LIST_PARAMETERS, TEST_SET_SCOPE, executions::test_sets),
    route("/api/v2/{projectId}/testsets/{id}", &[], TEST_SET_SCOPE, executions::test_set),
    route(
        "/api/v2/{projectId}/testcaselogs/testexecution/{testExecutionId}/paged",
        &["search", "top", "skip", "orderBy", "onlyFailed"],
        EXECUTION_SCOPE,
        logs::list_of_execution,
    ),
    route("/api/v2/{projectId}/testcaselogs/{id}", &[], EXECUTION_SCOPE, logs::by_id),
    route(
        "/api/v2/{projectId}/testcaselogs/testcase/{testCaseId}/history",
        PAGE_PARAMETERS,
        EXECUTION_SCOPE,
        logs::list_of_case,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/testcase/{testCaseId}/paged",
        PAGE_PARAMETERS,
        EXECUTION_SCOPE,
        logs::list_of_case,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/{id}/assertions",
        &[],
        EXECUTION_SCOPE,
        artifacts::assertions,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/{id}/assertions/markdown",
        &[],
        EXECUTION_SCOPE,
        artifacts::assertions_as_markdown,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/{id}/logs",
        &[],
        EXECUTION_SCOPE,
        artifacts::robot_log_file,
    ),
    route(
        "/api/v2/{projectId}/testcaselogartifacts/{id}/assertions",
        &[],
        EXECUTION_SCOPE,
        artifacts::assertions,
    ),
    route(
        "/api/v2/{projectId}/testcaselogartifacts/{id}/assertions/{assertionId}/downloadscreenshot",
        &[],
        EXECUTION_SCOPE,
        artifacts::screenshot,
    ),
    route(
        "/api/v2/{projectId}/orchestrator/testexecution/{id}/robotlogs/paged",
        &["top", "skip", "orderBy", "testcaseid"],
        EXECUTION_SCOPE,
        artifacts::robot_logs,
    ),
    route(
        "/api/v2/{projectId}/teststeplogs",
        &["testCaseLogId"],
        EXECUTION_SCOPE,
        artifacts::step_logs,
    ),
    route("/api/v2/{projectId}/teststeps/testcase/{id}", &[], TEST_CASE_SCOPE, cases::steps),
    route(
        "/api/v2/{projectId}/attachments/{objectType}/{id}/all",
        &[],
        FILE_SCOPE,
        artifacts::attachments,
    ),
    route(
        "/api/v2/{projectId}/attachments/{objectType}/{id}/download",
        &[],
        FILE_SCOPE,
        artifacts::file,
    ),
    route("/api/v2/{projectId}/attachments/{id}/download", &[], FILE_SCOPE, artifacts::file),
    route("/api/v2/{projectId}/testcases", LIST_PARAMETERS, TEST_CASE_SCOPE, cases::list),
    route("/api/v2/{projectId}/testcases/{id}", &[], TEST_CASE_SCOPE, cases::by_id),
    route("/api/v2/{projectId}/testcases/objkey/{objKey}", &[], TEST_CASE_SCOPE, cases::by_key),
    route(
        "/api/v2/{projectId}/testcases/{id}/assignedrequirements",
        &[],
        REQUIREMENT_SCOPE,
        cases::assigned_requirements,
    ),
    route(
        "/api/v2/{projectId}/requirements",
        LIST_PARAMETERS,
        REQUIREMENT_SCOPE,
        cases::requirements,
    ),
    route("/api/v2/{projectId}/requirements/{id}", &[], REQUIREMENT_SCOPE, cases::requirement),
    route(
        "/api/v2/{projectId}/customfieldvalues/{objectType}/all",
        &["top", "skip"],
        CUSTOM_FIELD_SCOPE,
        cases::custom_fields,
    ),
    route(
        "/api/v2/{projectId}/objectlabels/{objectType}/{objectId}/all",
        &[],
        TEST_CASE_SCOPE,
        cases::labels,
    ),
    route("/api/v2/{projectId}/defects", LIST_PARAMETERS, DEFECT_SCOPE, projects::defects),
    route("/api/v2/{projectId}/defects/{id}", &[], DEFECT_SCOPE, projects::defect),
    route("/api/v2/{projectId}/defects/{id}/testcase", &[], DEFECT_SCOPE, projects::defect_case),
    route("/api/v2/{projectId}/defects/{id}/testcaselog", &[], DEFECT_SCOPE, projects::defect_log),
    route(
        "/api/v2/{projectId}/defects/{id}/testexecution",
        &[],
        DEFECT_SCOPE,
        projects::test_execution_of_defect,
    ),
];

/// The content of an answer.
pub(super) enum Reply {
    Json(Value),
    File(File),
    /// A file with this name and number of bytes. It is sent in chunks, because it may be larger
    /// than the memory.
    LargeFile(String, u64),
    Redirect(String),
}

/// A request whose token permits it.
pub(super) struct ApiRequest<'a> {
    pub(super) data_set: &'a DataSet,
    pub(super) faults: &'a Faults,
    pub(super) defects: &'a BTreeMap<Uuid, super::dto::Defect>,
    /// The origin of the files, for redirects.
    pub(super) files_url: &'a str,
    path: HashMap<String, String>,
    /// The parameters of the query, by name in lower case: Test Manager ignores the case of names.
    query: HashMap<String, String>,
}

impl<'a> ApiRequest<'a> {
    /// Reads the parameters of the query. `None` if a value is not valid.
    pub(super) fn new(
        route: &Route,
        (data_set, faults): (&'a DataSet, &'a Faults),
        (defects, files_url): (&'a BTreeMap<Uuid, super::dto::Defect>, &'a str),
        path: HashMap<String, String>,
        query: &str,
    ) -> Option<Self> {
        let parameters = url::form_urlencoded::parse(query.as_bytes());
        let known_parameters = parameters.filter_map(|(name, value)| {
            let is_known = |parameter: &&str| parameter.eq_ignore_ascii_case(&name);
            route.parameters.iter().any(is_known).then(|| (name.to_lowercase(), value.into_owned()))
        });
        let query: HashMap<_, _> = known_parameters.collect();
        let is_number = |name: &str| query.get(name).is_none_or(|text| text.parse::<u32>().is_ok());
        let is_id = |name: &str| query.get(name).is_none_or(|text| text.parse::<Uuid>().is_ok());
        let is_valid = is_number("top") && is_number("skip") && is_id("testcaseid");
        is_valid.then_some(Self { data_set, faults, defects, files_url, path, query })
    }

    fn project(&self) -> Option<&'a ProjectData> {
        self.data_set.project(self.id("projectId")?)
    }

    fn case(&self, id: Uuid) -> Option<&'a CaseData> {
        self.project()?.case(id)
    }

    /// The segment of the path with this name, parsed as an id.
    fn id(&self, name: &str) -> Option<Uuid> {
        self.segment(name)?.parse().ok()
    }

    /// The segment of the path with this name.
    fn segment(&self, name: &str) -> Option<&str> {
        self.path.get(name).map(String::as_str)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(&name.to_lowercase()).map(String::as_str)
    }

    fn page(&self) -> Page {
        let number = |name| self.parameter(name).and_then(|text| text.parse().ok());
        let top = number("top").unwrap_or(DEFAULT_PAGE_ITEMS).clamp(1, PAGE_ITEMS_MAX);
        Page { skip: number("skip").unwrap_or(0), top }
    }

    /// The number of items that the query's search finds, and of them the sorted items of its page.
    fn select<T: Serialize>(&self, items: impl IntoIterator<Item = T>) -> (usize, Vec<Value>) {
        let mut values: Vec<_> = items.into_iter().map(|item| json!(item)).collect();
        if let Some(search) = self.parameter("search").filter(|search| !search.is_empty()) {
            let search = search.to_lowercase();
            values.retain(|value| searched_text(value).contains(&search));
        }
        if let Some(order) = self.parameter("orderBy") {
            sort(&mut values, order);
        }
        let (total, page) = (values.len(), self.page());
        (total, values.into_iter().skip(page.skip).take(page.top).collect())
    }

    fn list<T: Serialize>(&self, items: impl IntoIterator<Item = T>) -> Option<Reply> {
        let (total, values) = self.select(items);
        Some(Reply::Json(self.page().answer(total, values)))
    }
}

fn json_reply(item: &impl Serialize) -> Option<Reply> {
    Some(Reply::Json(json!(item)))
}

/// The text that a search compares, in lower case: the record's name, its key, and the name of its
/// test case.
fn searched_text(value: &Value) -> String {
    let texts = [value.get("name"), value.get("objKey"), value.pointer("/testCase/name")];
    let texts = texts.into_iter().flatten().filter_map(Value::as_str);
    texts.collect::<Vec<_>>().join("\n").to_lowercase()
}

/// Sorts by `member` or `member desc`. The case of the member's name is ignored. A member that no
/// value has does not change the order, except that `desc` reverses it.
fn sort(values: &mut [Value], order: &str) {
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
