"""A connector for a small tracker. The contract and the manual are in `wit/connector.wit`.

Each exported interface is a class. A name in kebab-case becomes snake_case, or CamelCase for a class.
Raise `error(…)` for an error of the contract. Any other exception ends the run, and the run's log
shows its traceback."""
from typing import TypedDict

from wit_world import exports
from wit_world.exports.plugin import ChoicesPage, Manifest
from wit_world.imports import report
from wit_world.imports.model import Counts, Defect, ErrorCode, FailedTest

from jackfield import SCHEMA, Tracker, error, id_of, page, part, settings

TRACKER = Tracker("The tracker", address="url", secret="api-key", reasons="/errors")


class Settings(TypedDict):
    """The settings of `settings.schema.json`. The host adds the API key to each request."""
    url: str
    project: str
    critical: list[str]


def given() -> Settings:
    return Settings(**settings())


def user() -> str:
    """Returns the user of the API key. A tracker may answer other requests even if this key is wrong."""
    return TRACKER.get("/users/current.json", "/user/login")


def defect(issue: dict) -> Defect:
    return Defect(
        key=str(part(issue, "/id")),
        title=part(issue, "/subject"),
        link=page(given()["url"], f"/issues/{issue['id']}"),
        status=part(issue, "/status/name"),
        priority=part(issue, "/priority/name"),
        description=issue.get("description"),
    )


class Plugin(exports.Plugin):
    def describe(self) -> Manifest:
        summary = "Creates, finds and counts issues of a small tracker."
        # The last value says for how many seconds the tracker's search may miss a new issue.
        return Manifest("Sample tracker", "0.1.0", summary, None, SCHEMA, 0)

    def check(self) -> str:
        return f"reached as {user()}, {Kpis().count('').open} open issues"

    def choices(self, setting: str, search: str) -> ChoicesPage:
        raise error(ErrorCode.UNSUPPORTED, f"{setting} has no list of values")


class Defects(exports.Defects):
    def create(self, test: FailedTest, marker: str) -> Defect:
        """Reads the report, then sends the only write. So no issue exists if an earlier step fails."""
        issue = {
            "description": report.description("markdown", 16_000, marker),
            "project_id": given()["project"],
            "subject": report.title(255),
        }
        return defect(TRACKER.post("/issues.json", "/issue", {"issue": issue}))

    def find(self, marker: str) -> list[Defect]:
        issues = TRACKER.get(
            "/issues.json", "/issues", status_id="*", limit=5, description=f"~{marker}")
        if not issues:
            user()  # The list is also empty if the API key is wrong. Then this request fails.
        if not all(marker in (issue.get("description") or "") for issue in issues):
            raise error(ErrorCode.UNSUPPORTED, "the tracker ignores the search for the marker")
        return [defect(issue) for issue in issues]


class Kpis(exports.Kpis):
    def count(self, project: str) -> Counts:
        user()
        known = TRACKER.get("/enumerations/issue_priorities.json", "/issue_priorities")
        ids = "|".join(str(id_of(known, name, "critical")) for name in given()["critical"])
        path = f"/projects/{given()['project']}/issues"
        open_critical = {"status_id": "open", "priority_id": ids}

        def count(**query: str) -> int:
            return TRACKER.get(f"{path}.json", "/total_count", **query, limit=1)

        total, critical = count(status_id="open"), count(**open_critical)
        link = page(given()["url"], path, open_critical)
        moderate = max(0, total - critical)
        return Counts(total, count(status_id="closed"), critical, moderate, link)
