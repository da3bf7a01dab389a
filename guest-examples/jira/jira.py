"""Sends requests to the API of Jira, and converts its answers."""
from typing import Any
from urllib.parse import quote

from wit_world.imports import http
from wit_world.imports.model import Defect, ErrorCode

from jackfield import Tracker, error, page, part, settings

FIELDS = "summary,status,priority,description"


def reasons(refusal: Any) -> list[str]:
    """Returns the reasons in a refusal. They are messages about the request and messages about its fields."""
    if not isinstance(refusal, dict):
        return []
    errors, messages = refusal.get("errors"), refusal.get("errorMessages") or [refusal.get("message")]
    of_fields = [f"{k}: {v}" for k, v in errors.items()] if isinstance(errors, dict) else errors or []
    return [it for it in [*messages, *of_fields] if it]


JIRA = Tracker("Jira", address="url", secret="api-token", reasons=reasons)


def is_cloud() -> bool:
    return settings()["deployment"] == "cloud"


def api(path: str) -> str:
    return f"/rest/api/{3 if is_cloud() else 2}{path}"


def issue_path(key: str) -> str:
    return api(f"/issue/{quote(key, safe='')}")


def user() -> str:
    """Returns the user of the credentials. If the token is not valid, Jira answers other requests as requests of
    an anonymous visitor, who may see nothing."""
    return JIRA.get(api("/myself"), "/displayName")


def search(jql: str, size: int) -> list[dict]:
    path = api("/search/jql" if is_cloud() else "/search")
    issues = JIRA.get(path, "/issues", jql=jql, maxResults=size, fields=FIELDS)
    if not isinstance(issues, list):
        raise error(ErrorCode.UNAVAILABLE, f"Jira's answer to {path} has no list of issues", "url")
    return issues


def total(jql: str) -> int:
    """Returns the number of issues that a query finds. In Cloud, only an approximate number is available."""
    if not is_cloud():
        return JIRA.get(api("/search"), "/total", jql=jql, maxResults=0)
    answer = JIRA.request(http.Method.POST, api("/search/approximate-count"), body={"jql": jql},
                          effect=http.Effect.READ)
    return part(answer, "/count")


def quoted(text: str) -> str:
    """Quotes a text for JQL."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def scope() -> str:
    given = settings()
    return f"project = {quoted(given['project'])} AND issuetype = {quoted(given['issue-type'])}"


def page_of(path: str, query: dict | None = None) -> str:
    given = settings()
    return page(given.get("site") or given["url"], path, query)


def text_of(value: Any) -> str:
    """Converts a value to plain text. In Cloud, the value is a document."""
    if not isinstance(value, dict):
        return value or ""
    inside = "".join(map(text_of, value.get("content", ())))
    is_block = value.get("type") in ("paragraph", "heading", "codeBlock", "listItem")
    return value.get("text", "") + inside + ("\n" if is_block else "")


def name_of(value: Any) -> str | None:
    return value.get("name") if isinstance(value, dict) else None


def defect(issue: dict) -> Defect:
    key, fields = part(issue, "/key"), part(issue, "/fields")
    return Defect(key, part(fields, "/summary"), page_of(f"/browse/{key}"), name_of(fields.get("status")),
                  name_of(fields.get("priority")), text_of(fields.get("description")) or None)


def is_done(status: dict) -> bool:
    return part(status, "/statusCategory/key") == "done"
