"""Makes the values of a new issue: the fields of the report, and texts in the format of this Jira."""
import json
from typing import Any
from urllib.parse import quote

from wit_world.imports import report
from wit_world.imports.model import ErrorCode

from jackfield import error, part, settings
from jira import JIRA, api, is_cloud

TEXT_CHARS_MAX = 32_000  # Jira stores at most 32,767 characters.


def list_of(path: str, member: str) -> list[dict]:
    """Requests a list of the metadata for new issues. In Cloud, the list is in the member `member` of the answer.
    In Data Center, it is in the member `values`."""
    answer = JIRA.get(path, "", maxResults=200)
    found = answer.get(member, answer.get("values")) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise error(ErrorCode.UNAVAILABLE, f"Jira's answer to {path} has no list", "url")
    return found


def fields_of_type() -> list[dict]:
    """Returns the fields that a new issue of the connection's type may have."""
    given = settings()
    path = api(f"/issue/createmeta/{quote(given['project'], safe='')}/issuetypes")
    types = list_of(path, "issueTypes")
    for known in types:
        if part(known, "/name").lower() == given["issue-type"].lower():
            return list_of(f"{path}/{part(known, '/id')}", "fields")
    names = ", ".join(part(known, "/name") for known in types)
    why = f"{given['project']} has no issue type \"{given['issue-type']}\"; it has: {names}"
    raise error(ErrorCode.REJECTED, why, "issue-type")


def written(value: Any, schema: dict) -> Any:
    """Converts a text to the value of a field with this schema. Returns any other value unchanged."""
    kind, custom = schema.get("type"), schema.get("custom", "")
    if not isinstance(value, str):
        return value
    if kind == "array":
        return [written(it.strip(), {"type": schema.get("items")}) for it in value.split(",")]
    if kind == "number":
        return float(value)
    if kind == "option":
        return {"value": value}
    if kind == "user":
        return {"accountId" if is_cloud() else "name": value}
    if kind in ("priority", "version", "component", "resolution", "group"):
        return {"name": value}
    return document([value]) if is_cloud() and custom.endswith(":textarea") else value


def document(paragraphs: list[str]) -> dict:
    content = [{"type": "paragraph", "content": [{"type": "text", "text": it}]} for it in paragraphs]
    return {"type": "doc", "version": 1, "content": content}


def mapped() -> tuple[dict, list[str]]:
    """Returns the fields of the report as Jira stores them, and a line for each field that the issue type
    does not have."""
    given = report.fields()
    known, fields, notes = fields_of_type() if given else [], {}, []
    for name, value in ((it.name, it.value) for it in given):
        value = json.loads(value.value) if isinstance(value, report.FieldValue_Json) else value.value
        found = [it for it in known if name.lower() in (it.get("fieldId", "").lower(), it["name"].lower())]
        if found:
            fields[found[0]["fieldId"]] = written(value, found[0].get("schema", {}))
        else:
            notes.append(f'Not set: there is no field "{name}"')
    return fields, notes


def text_for_jira(write: Any, marker: str, notes: list[str]) -> Any:
    """Returns a description or a comment in the format of this Jira."""
    if not is_cloud():
        return "\n\n".join([write("jira-wiki", TEXT_CHARS_MAX, marker), *notes])
    text = json.loads(write("adf", TEXT_CHARS_MAX, marker))
    text["content"] += document(notes)["content"]
    return text
