"""A connector for Jira Cloud (version 3 of the API) and Jira Data Center (version 2).

Jira differs from other trackers in these points. Jira may answer a request with an invalid token as a
request of an anonymous visitor. Jira indexes new issues in the background. The fields of an issue type
determine how each value must be written. Cloud has its own format of texts (ADF), and no longer returns
the exact number of issues that a search finds."""
import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.follow_up import Current
from wit_world.exports.plugin import ChoicesPage, Manifest
from wit_world.imports import http, report
from wit_world.imports.model import Counts, Defect, ErrorCode, FailedTest

from fields import fields_of_type, mapped, text_for_jira
from jackfield import SCHEMA, error, is_not_found, part, settings
from jira import (FIELDS, JIRA, api, defect, is_done, issue_path, page_of, quoted, scope, search, total,
                  user)

TITLE_CHARS_MAX = 255
PAGE_SIZE = 100


class Plugin(exports.Plugin):
    def describe(self) -> Manifest:
        return Manifest("Jira", "0.1.0", "Creates, finds and counts issues of Jira Cloud and Data Center.",
                        "https://developer.atlassian.com/cloud/jira/platform/rest/v3/", SCHEMA,
                        # Atlassian does not document the index delay of its search; it is usually seconds.
                        index_delay_seconds=300)

    def check(self) -> str:
        who = user()
        fields_of_type()
        return f"{settings()['url']} as {who}, {Kpis().count('').open} open issues in {settings()['project']}"

    def choices(self, setting: str, search: str) -> ChoicesPage:
        raise error(ErrorCode.UNSUPPORTED, f"{setting} has no list of values", setting)


class Defects(exports.Defects):
    def create(self, test: FailedTest, marker: str) -> Defect:
        given, title = settings(), report.title(TITLE_CHARS_MAX)
        fields, notes = mapped()
        fields |= {"project": {"key": given["project"]}, "issuetype": {"name": given["issue-type"]},
                   "summary": title, "description": text_for_jira(report.description, marker, notes)}
        if priority := given.get("priority"):
            fields["priority"] = {"name": priority}
        if labels := given.get("labels"):
            fields["labels"] = [*labels, *fields.get("labels", [])]
        key = JIRA.post(api("/issue"), "/key", {"fields": fields})
        # The answer contains the key, but no fields of the issue.
        return Defect(key, title, page_of(f"/browse/{key}"), None, given.get("priority"), None)

    def find(self, marker: str) -> list[Defect]:
        """Searches all projects, because people move issues."""
        issues = search(f"description ~ {quoted(marker)} ORDER BY created ASC", 5)
        if not issues:
            user()
        for issue in issues:
            if marker not in json.dumps(part(issue, "/fields").get("description")):
                why = "Jira returned an issue without the marker in its description"
                raise error(ErrorCode.UNAVAILABLE, why)
        return [defect(issue) for issue in issues]


class Kpis(exports.Kpis):
    def count(self, project: str) -> Counts:
        user()
        given, is_open = settings(), f"{scope()} AND statusCategory != Done"

        def of(setting: str) -> str:
            names = ", ".join(map(quoted, given[setting]))
            return f"{is_open} AND priority in ({names})" if names else ""

        critical, moderate = of("critical-priorities"), of("moderate-priorities")
        return Counts(
            open=total(is_open),
            closed=total(f"{scope()} AND statusCategory = Done"),
            # Jira refuses a query with the name of a priority that does not exist.
            critical=total(critical) if critical else 0,
            moderate=total(moderate) if moderate else 0,
            critical_link=page_of("/issues/", {"jql": critical}) if critical else None)


class FollowUp(exports.FollowUp):
    def state(self, key: str) -> Current | None:
        """Returns the issue with its current key. If the issue was moved, `key` may be an earlier key."""
        try:
            issue = JIRA.get(issue_path(key), "", fields=FIELDS)
        except Err as failed:
            if not is_not_found(failed):
                raise
            user()  # Fails if the credentials are wrong. Otherwise the issue no longer exists.
            return None
        return Current(defect(issue), not is_done(part(issue, "/fields/status")))

    def comment(self, key: str, test: FailedTest, marker: str) -> None:
        JIRA.post(f"{issue_path(key)}/comment", "/id", {"body": text_for_jira(report.comment, marker, [])})

    def find_comment(self, key: str, marker: str) -> bool:
        start, path = 0, f"{issue_path(key)}/comment"
        while True:
            answer = JIRA.get(path, "", startAt=start, maxResults=PAGE_SIZE, orderBy="-created")
            comments = part(answer, "/comments")
            if any(marker in json.dumps(comment.get("body")) for comment in comments):
                return True
            start += len(comments)
            if not comments or start >= part(answer, "/total"):
                return False

    def reopen(self, key: str) -> None:
        if not is_done(JIRA.get(issue_path(key), "/fields/status", fields=FIELDS)):
            return
        path, wanted = f"{issue_path(key)}/transitions", settings().get("reopen-transition", "")
        transitions = JIRA.get(path, "/transitions")
        for it in transitions:
            if it["name"].lower() == wanted.lower() if wanted else not is_done(part(it, "/to")):
                JIRA.request(http.Method.POST, path, body={"transition": {"id": it["id"]}})
                return
        names = ", ".join(it["name"] for it in transitions) or "none"
        why = f"the workflow has no transition that opens {key} again; it allows: {names}"
        raise error(ErrorCode.REJECTED, why, "reopen-transition")

    def attach(self, key: str, attachment: int) -> None:
        file = http.Part("file", None, None, http.Content_Attachment(attachment))
        JIRA.request(http.Method.POST, f"{issue_path(key)}/attachments",
                     headers={"X-Atlassian-Token": "no-check"}, body=http.Body_Multipart([file]))

    def attached(self, key: str) -> list[str]:
        files = JIRA.get(issue_path(key), "/fields/attachment", fields="attachment")
        return [part(file, "/filename") for file in files]
