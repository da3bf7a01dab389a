"""Redmine connector in Python; the Rust one beside it says more about each decision.

An exported interface is a class of its name; kebab-case turns into snake_case and CamelCase; an
error of the contract is raised and caught as Err(…); any other exception ends the run, its
traceback in the run's log."""
import json
from pathlib import Path
from urllib.parse import urlencode

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import http, model, settings

# Top-level code runs once, when the component is built; at run time there are no files.
SCHEMA = Path(__file__).with_name("settings.schema.json").read_text()
PROPERTIES = json.loads(SCHEMA)["properties"]

def setting(name):
    return json.loads(settings.all()).get(name, PROPERTIES[name].get("default"))

def address(path, query=()):
    return setting("url").rstrip("/") + path + ("?" + urlencode(query) if query else "")

def exchange(method, path, query=(), body=b""):
    """One exchange with Redmine; every failure becomes an error of the contract here."""
    headers = [("Content-Type", "application/json")]
    try:
        response = http.send(http.Request(method, None, address(path, query), headers, body))
    except Err as error:
        down = isinstance(error.value, (http.HttpError_Unreachable, http.HttpError_Interrupted))
        raise Err((model.Error_Unavailable if down else model.Error_Internal)(error.value.value))
    status, said = response.status, f"Redmine answered {response.status} to {path}"
    try:
        answer = json.loads(response.body)
    except ValueError:
        answer = {}
    if status < 300 and answer:
        return answer
    if status in (401, 403):
        raise Err(model.Error_Unauthorized(f"{said}: look at the API key's rights"))
    if status == 429:
        wait = dict(response.headers).get("retry-after", "")
        raise Err(model.Error_RateLimited(int(wait) if wait.isdecimal() else 60))
    if 300 <= status < 500:
        raise Err(model.Error_Rejected("; ".join(answer.get("errors", [])) or said))
    raise Err(model.Error_Unavailable(f"{said} with something that is not its JSON"))

# Redmine serves a wrong key as a stranger who sees little; only the user's page answers 401 to it.
def get(path, *query): return exchange(http.Method.GET, path, query)
def user(): return get("/users/current.json")["user"]
def project(): return get(f"/projects/{setting('project')}.json", ("include", "trackers"))["project"]
def priorities(): return get("/enumerations/issue_priorities.json")["issue_priorities"]

def id_of(known, name):
    """The number of the one with that name; Redmine would quietly take another."""
    if same := [one["id"] for one in known if one["name"].lower() == name.strip().lower()]:
        return same[0]
    raise Err(model.Error_Rejected(f"no {name!r} among {[one['name'] for one in known]}"))

def defect(issue):
    return model.Defect(str(issue["id"]), issue["subject"], address(f"/issues/{issue['id']}"),
                        issue["status"]["name"], issue["priority"]["name"], issue["description"])

class Plugin(exports.Plugin):
    def describe(self):
        summary = "Creates, finds and counts Redmine issues."
        return exports.plugin.Manifest("Redmine (Python)", "0.1.0", summary, None, SCHEMA, 0)

    def check(self):
        opened = Kpis().count("").open
        return f"{address('')} as {user()['login']}, {opened} open issues in {project()['name']}"

    def choices(self, setting):
        raise Err(model.Error_Unsupported(f"no list of values for {setting}"))

class Defects(exports.Defects):
    def create(self, test, marker):
        case, variation, field = test.test_case_id, test.variation_id, setting("marker-field")
        subject = f"Test case {case} failed" + (f" ({variation})" if variation else "")
        lines = {"Test case": case, "Test execution": test.test_execution_id, "Variation": variation,
                 "Test case log": test.link, "Jackfield marker": None if field else marker}
        text = "\n".join(f"{what}: {text}" for what, text in lines.items() if text)
        issue = {"project_id": setting("project"), "subject": subject[:255], "description": text,
                 "custom_fields": [{"id": int(field), "value": marker}] if field else []}
        if tracker := setting("tracker"):
            issue["tracker_id"] = id_of(project()["trackers"], tracker)
        if priority := setting("priority"):
            issue["priority_id"] = id_of(priorities(), priority)
        body = json.dumps({"issue": issue}).encode()
        return defect(exchange(http.Method.POST, "/issues.json", body=body)["issue"])

    def find(self, marker):
        field = setting("marker-field")
        search = (f"cf_{field}", marker) if field else ("description", f"~{marker}")
        issues = get("/issues.json", ("status_id", "*"), ("sort", "id"), ("limit", 5), search)["issues"]
        for issue in issues:  # a filter that Redmine does not know returns every issue there is
            if marker in json.dumps(issue.get("custom_fields") if field else issue["description"]):
                return defect(issue)
        if issues:
            raise Err(model.Error_Unsupported(f"Redmine cannot search by {search[0]} here"))
        user()

class Kpis(exports.Kpis):
    def count(self, _project):
        user()
        page, known, name = f"/projects/{setting('project')}/issues", priorities(), setting("tracker")
        scope = [("tracker_id", id_of(project()["trackers"], name))] if name else []

        def ids(key):
            names = setting(key).split(",") if isinstance(setting(key), str) else setting(key)
            return "|".join(str(id_of(known, name)) for name in names if name.strip())

        def total(status, ids=None):
            query = [*scope, ("status_id", status), ("limit", 1)] + ([("priority_id", ids)] if ids else [])
            return 0 if ids == "" else get(f"{page}.json", *query)["total_count"]
        critical, moderate = ids("critical-priorities"), ids("moderate-priorities")
        shown = [*scope, ("set_filter", 1), ("status_id", "open"), ("priority_id", critical)]
        return model.Counts(total("open"), total("closed"), total("open", critical),
                            total("open", moderate), address(page, shown) if critical else None)
