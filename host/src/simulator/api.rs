//! The paths of Test Manager's REST API that the stand-in answers. All of them only read.
//!
//! The test `the_stand_in_serves_only_what_public_clients_show` compares this table, and the
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

use super::data::{CaseData, File, ProjectData, World};
use super::dto::Page;
use super::faults::Faults;

/// Number of items in one answer if the request has no limit, and the maximum.
const PAGE_ITEMS: usize = 50;
const PAGE_ITEMS_MAX: usize = 1000;

/// One path of the API, and the function that answers it.
pub(super) struct Route {
    /// The path below `…/testmanager_`, with names in braces.
    pub(super) path: &'static str,
    /// The parameters of the query that have an effect; other parameters are ignored.
    pub(super) parameters: &'static [&'static str],
    /// The family of scopes that a token needs; empty: any token will do.
    pub(super) scope: &'static str,
    /// Answers a request; `None` if a record that the path names does not exist.
    pub(super) serve: fn(&ApiRequest<'_>) -> Option<Reply>,
}

const LIST: &[&str] = &["search", "top", "skip", "orderBy"];
const PAGED: &[&str] = &["top", "skip", "orderBy"];

const fn route(
    path: &'static str,
    parameters: &'static [&'static str],
    scope: &'static str,
    serve: fn(&ApiRequest<'_>) -> Option<Reply>,
) -> Route {
    Route { path, parameters, scope, serve }
}

const PROJECTS: &str = "TM.Projects";
const EXECUTIONS: &str = "TM.TestExecutions";
const CASES: &str = "TM.TestCases";
const SETS: &str = "TM.TestSets";
const REQUIREMENTS: &str = "TM.Requirements";
const FILES: &str = "TM.Attachments";
const FIELDS: &str = "TM.CustomFieldValues";
const DEFECTS: &str = "TM.Defects";

/// All paths; the method is GET.
pub(super) const ROUTES: [Route; 37] = [
    route("/api/serverinfo", &[], "", projects::server_info),
    route("/api/v2/projects", LIST, PROJECTS, projects::list),
    route("/api/v2/projects/{id}", &[], PROJECTS, projects::by_id),
    route("/api/v2/projects/prefix/{projectPrefix}", &[], PROJECTS, projects::by_prefix),
    route("/api/v2/{projectId}/testexecutions", LIST, EXECUTIONS, executions::list),
    route("/api/v2/{projectId}/testexecutions/{id}", &[], EXECUTIONS, executions::by_id),
    route("/api/v2/{projectId}/testexecutions/{id}/withstats", &[], EXECUTIONS, executions::stats),
    route("/api/v2/{projectId}/testsets", LIST, SETS, executions::sets),
    route("/api/v2/{projectId}/testsets/{id}", &[], SETS, executions::set),
    route(
        "/api/v2/{projectId}/testcaselogs/testexecution/{testExecutionId}/paged",
        &["search", "top", "skip", "orderBy", "onlyFailed"],
        EXECUTIONS,
        logs::of_execution,
    ),
    route("/api/v2/{projectId}/testcaselogs/{id}", &[], EXECUTIONS, logs::by_id),
    route(
        "/api/v2/{projectId}/testcaselogs/testcase/{testCaseId}/history",
        PAGED,
        EXECUTIONS,
        logs::of_case,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/testcase/{testCaseId}/paged",
        PAGED,
        EXECUTIONS,
        logs::of_case,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/{id}/assertions",
        &[],
        EXECUTIONS,
        artifacts::assertions,
    ),
    route(
        "/api/v2/{projectId}/testcaselogs/{id}/assertions/markdown",
        &[],
        EXECUTIONS,
        artifacts::assertions_as_markdown,
    ),
    route("/api/v2/{projectId}/testcaselogs/{id}/logs", &[], EXECUTIONS, artifacts::robot_log_file),
    route(
        "/api/v2/{projectId}/testcaselogartifacts/{id}/assertions",
        &[],
        EXECUTIONS,
        artifacts::assertions,
    ),
    route(
        "/api/v2/{projectId}/testcaselogartifacts/{id}/assertions/{assertionId}/downloadscreenshot",
        &[],
        EXECUTIONS,
        artifacts::screenshot,
    ),
    route(
        "/api/v2/{projectId}/orchestrator/testexecution/{id}/robotlogs/paged",
        &["top", "skip", "orderBy", "testcaseid"],
        EXECUTIONS,
        artifacts::robot_logs,
    ),
    route("/api/v2/{projectId}/teststeplogs", &["testCaseLogId"], EXECUTIONS, artifacts::step_logs),
    route("/api/v2/{projectId}/teststeps/testcase/{id}", &[], CASES, cases::steps),
    route(
        "/api/v2/{projectId}/attachments/{objectType}/{id}/all",
        &[],
        FILES,
        artifacts::attachments,
    ),
    route(
        "/api/v2/{projectId}/attachments/{objectType}/{id}/download",
        &[],
        FILES,
        artifacts::file,
    ),
    route("/api/v2/{projectId}/attachments/{id}/download", &[], FILES, artifacts::file),
    route("/api/v2/{projectId}/testcases", LIST, CASES, cases::list),
    route("/api/v2/{projectId}/testcases/{id}", &[], CASES, cases::by_id),
    route("/api/v2/{projectId}/testcases/objkey/{objKey}", &[], CASES, cases::by_key),
    route(
        "/api/v2/{projectId}/testcases/{id}/assignedrequirements",
        &[],
        REQUIREMENTS,
        cases::assigned,
    ),
    route("/api/v2/{projectId}/requirements", LIST, REQUIREMENTS, cases::requirements),
    route("/api/v2/{projectId}/requirements/{id}", &[], REQUIREMENTS, cases::requirement),
    route(
        "/api/v2/{projectId}/customfieldvalues/{objectType}/all",
        &["top", "skip"],
        FIELDS,
        cases::custom_fields,
    ),
    route(
        "/api/v2/{projectId}/objectlabels/{objectType}/{objectId}/all",
        &[],
        CASES,
        cases::labels,
    ),
    route("/api/v2/{projectId}/defects", LIST, DEFECTS, projects::defects),
    route("/api/v2/{projectId}/defects/{id}", &[], DEFECTS, projects::defect),
    route("/api/v2/{projectId}/defects/{id}/testcase", &[], DEFECTS, projects::defect_case),
    route("/api/v2/{projectId}/defects/{id}/testcaselog", &[], DEFECTS, projects::defect_log),
    route(
        "/api/v2/{projectId}/defects/{id}/testexecution",
        &[],
        DEFECTS,
        projects::test_execution_of_defect,
    ),
];

/// The answer to a request that is permitted.
pub(super) enum Reply {
    Json(Value),
    File(File),
    /// A file of this number of bytes. It is sent piece by piece and is never completely in memory.
    LargeFile(String, u64),
    Redirect(String),
}

/// A request that its token permits.
pub(super) struct ApiRequest<'a> {
    pub(super) world: &'a World,
    pub(super) faults: &'a Faults,
    pub(super) defects: &'a BTreeMap<Uuid, super::dto::Defect>,
    /// The origin of the files, for redirects.
    pub(super) files_url: &'a str,
    path: HashMap<String, String>,
    /// The parameters of the query, by name in lower case: Test Manager ignores the case of names.
    query: HashMap<String, String>,
}

impl<'a> ApiRequest<'a> {
    /// Reads the parameters. `None` if a parameter has a value that is not valid.
    pub(super) fn new(
        route: &Route,
        (world, faults): (&'a World, &'a Faults),
        (defects, files_url): (&'a BTreeMap<Uuid, super::dto::Defect>, &'a str),
        path: HashMap<String, String>,
        query: &str,
    ) -> Option<Self> {
        let parse = url::form_urlencoded::parse(query.as_bytes());
        let known = parse.filter_map(|(name, value)| {
            let is_known = |parameter: &&str| parameter.eq_ignore_ascii_case(&name);
            route.parameters.iter().any(is_known).then(|| (name.to_lowercase(), value.into_owned()))
        });
        let query: HashMap<_, _> = known.collect();
        let is_number = |name: &str| query.get(name).is_none_or(|text| text.parse::<u32>().is_ok());
        let is_id = |name: &str| query.get(name).is_none_or(|text| text.parse::<Uuid>().is_ok());
        let fits = is_number("top") && is_number("skip") && is_id("testcaseid");
        fits.then_some(Self { world, faults, defects, files_url, path, query })
    }

    fn project(&self) -> Option<&'a ProjectData> {
        self.world.project(self.id("projectId")?)
    }

    fn case(&self, id: Uuid) -> Option<&'a CaseData> {
        self.project()?.case(id)
    }

    /// The segment of the path with this name, parsed as an id.
    fn id(&self, name: &str) -> Option<Uuid> {
        self.text(name)?.parse().ok()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.path.get(name).map(String::as_str)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(&name.to_lowercase()).map(String::as_str)
    }

    fn page(&self) -> Page {
        let number = |name| self.parameter(name).and_then(|text| text.parse().ok());
        let top = number("top").unwrap_or(PAGE_ITEMS).clamp(1, PAGE_ITEMS_MAX);
        Page { skip: number("skip").unwrap_or(0), top }
    }

    /// The items that the query selects, in the order that it names, and the number of items in
    /// total.
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
        Some(Reply::Json(self.page().of(total, values)))
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

/// Sorts by `member` or `member desc`; the member's name is case-insensitive. Unknown members do
/// not sort.
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
