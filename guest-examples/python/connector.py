"""Redmine connector in Python.

The contract in Python: each exported interface is a class. A name in kebab-case becomes snake_case, or
CamelCase for a class. Raise and catch an error of the contract as Err(…). Any other exception ends the
run, and the run's log shows its traceback."""
import json
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlencode

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import http, model, report, settings
from wit_world.imports.model import ErrorCode

# Top-level code runs once, when the component is built. At run time there are no files to read.
SCHEMA = Path(__file__).with_name("settings.schema.json").read_text()
PROPERTIES = json.loads(SCHEMA)["properties"]

TEXT_CHARS_MAX = 16_000  # A text of this length fits into the column of every database that Redmine supports.
MEMBERS = ["assigned_to_id", "category_id", "due_date", "fixed_version_id"]

def setting(name):
    return json.loads(settings.all()).get(name, PROPERTIES[name].get("default"))

def address(path, query=()):
    return setting("url").rstrip("/") + path + ("?" + urlencode(query) if query else "")

def error(code, message, retry_after_seconds=None):
    return Err(model.Error(code, message, None, retry_after_seconds))

def exchange(method, path, query=(), body=None, effect=None, headers=(), may_be_gone=False):
    """Sends one request to Redmine. Raises each failure as an error of the contract. Such an error must have
    exactly the class Err: an exception of a subclass ends the run. If `may_be_gone` is true, returns None
    for the status 404."""
    query = [(name, str(text)) for name, text in query]
    try:
        response = http.send(http.Request(method, effect, None, path, query, list(headers), body))
    except Err as failed:
        unavailable = isinstance(failed.value, (http.HttpError_Unreachable, http.HttpError_Interrupted))
        raise error(ErrorCode.UNAVAILABLE if unavailable else ErrorCode.INTERNAL, failed.value.value)
    status, answered = response.status, f"Redmine answered {response.status} to {path}"
    try:
        answer = json.loads(response.text or "")
    except ValueError:
        answer = {}
    if status == 204 or (status < 300 and answer):
        return answer
    if status in (401, 403):
        raise error(ErrorCode.UNAUTHORIZED, f"{answered}: check the API key and its rights")
    if status == 429:
        raise error(ErrorCode.RATE_LIMITED, answered, seconds(dict(response.headers)))
    if status == 404 and may_be_gone:
        return None
    if 300 <= status < 500:
        words = answer.get("errors") if isinstance(answer, dict) else None
        words = words if isinstance(words, list) else [words] if words else []
        raise error(ErrorCode.REJECTED, "; ".join(map(str, words)) or answered)
    why = answered if status >= 500 else f"{answered}, but not with the expected JSON"
    raise error(ErrorCode.UNAVAILABLE, why)

def seconds(headers):
    """Returns the wait that a rate limit requests. The header is a number of seconds or a date."""
    wait, date = headers.get("retry-after", ""), headers.get("date")
    if wait.isdecimal():
        return int(wait)
    try:
        now = parsedate_to_datetime(date) if date else datetime.now(timezone.utc)
        return max(0, int((parsedate_to_datetime(wait) - now).total_seconds()))
    except (TypeError, ValueError):
        return None

def member(answer, name):
    """Returns one member of an answer. If it is missing, the tracker is not a Redmine: that is not a connector bug."""
    if isinstance(answer, dict) and name in answer:
        return answer[name]
    why = f"the answer has no member {name!r}: is the setting url the address of a Redmine?"
    raise error(ErrorCode.UNAVAILABLE, why)

# If the API key is wrong, Redmine treats each request as one of an anonymous visitor. It always answers
# the request of user() with 401 then, but it may answer other requests as if the key were right.
def get(path, name, *query): return member(exchange(http.Method.GET, path, query), name)
def user(): return get("/users/current.json", "user")
def project(part): return get(f"/projects/{setting('project')}.json", "project", ("include", part))[part]
def read(key, include): return get(f"/issues/{key}.json", "issue", ("include", include))
def body(issue): return http.Body_Json(json.dumps({"issue": issue}))
def update(key, issue): exchange(http.Method.PUT, f"/issues/{key}.json", (), body(issue))
def priorities(): return get("/enumerations/issue_priorities.json", "issue_priorities")

def custom_fields():
    """A project lists only the custom fields that were added to it. Issues also contain the custom
    fields for all projects."""
    newest = get("/issues.json", "issues", ("status_id", "*"), ("sort", "id:desc"), ("limit", 25))
    return project("issue_custom_fields") + [it for issue in newest for it in issue.get("custom_fields", ())]

def id_of(records, name):
    """Returns the id of the record with this name. Refuses an unknown name: Redmine would use another record."""
    for record in records:
        if record["name"].lower() == name.strip().lower():
            return record["id"]
    names = ", ".join(record["name"] for record in records)
    raise error(ErrorCode.REJECTED, f"a setting names {name!r}, but Redmine has only: {names}")

def defect(issue):
    return model.Defect(str(issue["id"]), issue["subject"], address(f"/issues/{issue['id']}"),
                        issue["status"]["name"], issue["priority"]["name"], issue["description"])

def upload(attachment):
    """Uploads an attachment of the report. A later create or update must name the upload to attach the file."""
    answer = exchange(http.Method.POST, "/uploads.json", [("filename", attachment.name)],
                      http.Body_Attachment(attachment.id), http.Effect.PREPARE,
                      [("content-type", "application/octet-stream")])
    return {"token": member(answer, "upload")["token"], "filename": attachment.name,
            "content_type": attachment.media_type}

class Plugin(exports.Plugin):
    def describe(self):
        summary, index_delay_seconds = "Creates, finds and counts Redmine issues.", 0
        return exports.plugin.Manifest(
            "Redmine (Python)", "0.1.0", summary, None, SCHEMA, index_delay_seconds)

    def check(self):
        open_issues = Kpis().count("").open
        return f"{address('')} as {user()['login']}, {open_issues} open issues in {project('name')}"

    def choices(self, setting, search):
        why = f"the setting {setting} does not have a list of values"
        raise error(ErrorCode.UNSUPPORTED, why)

class Defects(exports.Defects):
    def create(self, test, marker):
        """If a field is unknown or a file cannot be uploaded, the description says so, and the issue is created."""
        field, notes = setting("marker-field"), ""
        issue = {"project_id": setting("project"), "subject": report.title(255), "uploads": [],
                 "custom_fields": [{"id": int(field), "value": marker}] if field else []}
        if tracker := setting("tracker"):
            issue["tracker_id"] = id_of(project("trackers"), tracker)
        if priority := setting("priority"):
            issue["priority_id"] = id_of(priorities(), priority)
        fields = report.fields()
        known = custom_fields() if fields else []
        for name, value in ((field.name, field.value) for field in fields):
            value = json.loads(value.value) if isinstance(value, report.FieldValue_Json) else value.value
            custom = [it["id"] for it in known if name.lower() in (it["name"].lower(), str(it["id"]))]
            if custom:
                issue["custom_fields"].append({"id": custom[0], "value": value})
            elif name in MEMBERS:
                issue[name] = value
            elif name.isdecimal():
                issue["custom_fields"].append({"id": int(name), "value": value})
            else:
                notes += f"\n\nNot set: there is no field {name!r}"
        for attachment in report.attachments():
            try:
                issue["uploads"].append(upload(attachment))
            except Err as failed:
                notes += f"\n\nNot attached: {attachment.name}: {failed.value.message}"
        in_text = None if field else marker
        issue["description"] = report.description(setting("markup"), TEXT_CHARS_MAX, in_text) + notes
        return defect(member(exchange(http.Method.POST, "/issues.json", (), body(issue)), "issue"))

    def find(self, marker):
        field = setting("marker-field")
        search = (f"cf_{field}", marker) if field else ("description", f"~{marker}")
        issues = get("/issues.json", "issues", ("status_id", "*"), ("sort", "id"), ("limit", 5), search)
        if not issues:
            user()
        for issue in issues:  # Redmine ignores a filter that does not exist in it, and returns all issues.
            if marker not in json.dumps(issue.get("custom_fields") if field else issue["description"]):
                raise error(ErrorCode.UNSUPPORTED, f"this Redmine cannot search by {search[0]}")
        return [defect(issue) for issue in issues]

class Kpis(exports.Kpis):
    def count(self, _project):
        user()
        page, known, tracker = f"/projects/{setting('project')}/issues", priorities(), setting("tracker")
        scope = [("tracker_id", id_of(project("trackers"), tracker))] if tracker else []

        def ids(key):
            return "|".join(str(id_of(known, name)) for name in setting(key))

        def total(status, ids=None):
            query = [*scope, ("status_id", status), ("limit", 1)] + ([("priority_id", ids)] if ids else [])
            return 0 if ids == "" else get(f"{page}.json", "total_count", *query)
        critical, moderate = ids("critical-priorities"), ids("moderate-priorities")
        critical_query = [*scope, ("set_filter", 1), ("status_id", "open"), ("priority_id", critical)]
        return model.Counts(total("open"), total("closed"), total("open", critical),
                            total("open", moderate), address(page, critical_query) if critical else None)

class FollowUp(exports.FollowUp):
    def state(self, key):
        answer = exchange(http.Method.GET, f"/issues/{key}.json", may_be_gone=True)
        if answer is None:
            user()  # Fails if the API key is wrong. Otherwise the issue no longer exists.
            return None
        issue = member(answer, "issue")
        return exports.follow_up.Current(defect(issue), not issue["status"].get("is_closed"))

    def comment(self, key, test, marker):
        update(key, {"notes": report.comment(setting("markup"), TEXT_CHARS_MAX, marker)})

    def find_comment(self, key, marker):
        return any(marker in (journal.get("notes") or "") for journal in read(key, "journals")["journals"])

    def reopen(self, key):  # Redmine ignores a status that the workflow does not allow
        issue = read(key, "allowed_statuses")
        allowed = [status["id"] for status in issue["allowed_statuses"] if not status.get("is_closed")]
        if issue["status"].get("is_closed"):
            if not allowed:
                raise error(ErrorCode.REJECTED, "the workflow does not allow to open this issue again")
            update(key, {"status_id": allowed[0]})

    def attach(self, key, attachment):
        found = next((it for it in report.attachments() if it.id == attachment), None)
        if found is None:
            raise error(ErrorCode.REJECTED, f"the report has no attachment {attachment}")
        update(key, {"uploads": [upload(found)]})

    def attached(self, key):
        return [attachment["filename"] for attachment in read(key, "attachments")["attachments"]]
