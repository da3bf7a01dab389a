"""A library for connectors in Python. Its functions read the settings with their defaults, send requests,
read JSON answers, and create the errors that a call returns."""
import json
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Callable, NoReturn
from urllib.parse import urlencode

from componentize_py_types import Err
from wit_world.imports import http, model
from wit_world.imports import settings as given
from wit_world.imports.model import ErrorCode

# Top-level code runs once, when the component is built. At run time there are no files to read.
SCHEMA = Path(__file__).with_name("settings.schema.json").read_text(encoding="utf-8")
DEFAULTS = {name: setting["default"] for name, setting in json.loads(SCHEMA)["properties"].items()
            if "default" in setting}


NOT_FOUND = ". It does not exist, or the user of the credentials cannot see it"


def is_not_found(failed: Err) -> bool:
    """Whether the tracker answered with the status 404. Reads the message, because an error of the
    contract has no member for the status. A class derived from `Err` could have one, but its exceptions
    would end the run."""
    return failed.value.code == ErrorCode.REJECTED and NOT_FOUND in failed.value.message


def error(code: ErrorCode, message: str, setting: str | None = None,
          retry_after_seconds: int | None = None) -> Err:
    """Makes an error of the contract, which the caller raises. The message says what to change."""
    return Err(model.Error(code, message, setting, retry_after_seconds))


def settings() -> dict[str, Any]:
    """Returns the connection's settings, with the defaults of the schema. The host does not add them."""
    return DEFAULTS | json.loads(given.all())


def part(answer: Any, path: str) -> Any:
    """Returns the part of an answer at a path such as "/user/login". A missing part is an error, because
    the answer is not that of the expected tracker then."""
    found = _at(answer, path)
    if found is None:
        why = f"the tracker's answer has no {path}; is the address right?"
        raise error(ErrorCode.UNAVAILABLE, why)
    return found


def _at(answer: Any, path: str) -> Any:
    for name in path.split("/")[1:]:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer


def page(base: str, path: str, query: dict[str, Any] | None = None) -> str:
    """Returns the address of a page for people. `base` is the tracker's address in the settings."""
    return base.rstrip("/") + path + ("?" + urlencode(query) if query else "")


def id_of(records: list[dict], name: str, setting: str) -> int:
    """Returns the id of the record that has this name. An unknown name is an error. Otherwise a count
    would be zero, and no person would notice."""
    for record in records:
        if record["name"].lower() == name.strip().lower():
            return record["id"]
    names = ", ".join(record["name"] for record in records)
    raise error(ErrorCode.REJECTED, f'"{name}" does not exist; there is: {names}', setting)


class Tracker:
    """A tracker with a JSON API. The paths of requests are relative to the tracker's address, and
    percent-encoded."""

    def __init__(self, name: str, address: str, secret: str,
                 reasons: str | Callable[[Any], list[str]]):
        """`name` is the name of the tracker. `address` and `secret` are the names of the settings that
        contain its address and the credentials. Error messages contain these names. `reasons` is the
        path of the reasons in a refusal, such as "/errors", or a function that returns the reasons.
        If a refusal is plain text, the beginning of this text is the reason."""
        self.name, self.address, self.secret, self.reasons = name, address, secret, reasons

    def get(self, path: str, wanted: str, **query: Any) -> Any:
        """Sends a GET request, and returns the part `wanted` of its answer."""
        return part(self.request(http.Method.GET, path, query=query), wanted)

    def post(self, path: str, wanted: str, body: Any) -> Any:
        """Sends a POST request, which is a write, and returns the part `wanted` of its answer. If the
        request has another effect, use `request`."""
        return part(self.request(http.Method.POST, path, body=body), wanted)

    def put(self, path: str, body: Any) -> Any:
        """Sends a PUT request, which is a write. If the request has another effect, use `request`."""
        return self.request(http.Method.PUT, path, body=body)

    def request(self, method: http.Method, path: str, *, query: dict[str, Any] | None = None,
                headers: dict[str, str] | None = None, body: Any = None,
                effect: http.Effect | None = None) -> Any:
        """Sends a request, and returns the JSON answer. `body` is a value to send as JSON, or any body of
        the contract. An answer with another status than 2xx is an error. For an answer without a body,
        returns None."""
        if body is not None and not type(body).__name__.startswith("Body_"):
            body = http.Body_Json(json.dumps(body, ensure_ascii=False, separators=(",", ":")))
        pairs = [(name, str(value)) for name, value in (query or {}).items()]
        try:
            response = http.send(http.Request(
                method, effect, None, path, pairs, list((headers or {}).items()), body))
        except Err as failed:
            is_down = isinstance(failed.value, (http.HttpError_Unreachable, http.HttpError_Interrupted))
            code = ErrorCode.UNAVAILABLE if is_down else ErrorCode.INTERNAL
            raise error(code, failed.value.value) from None
        answered = f"{self.name} answered {response.status} to {path}"
        try:
            answer = json.loads(response.text or "null")
        except ValueError:
            if response.status < 300:
                why = f"{answered}, but not with JSON; is this the address of {self.name}?"
                raise error(ErrorCode.UNAVAILABLE, why, self.address) from None
            answer = None
        if 200 <= response.status < 300:
            return answer
        text = (response.text or "").strip()
        is_plain = answer is None and not text.startswith("<")
        find = self.reasons if callable(self.reasons) else lambda body: _at(body, self.reasons)
        words = text[:300] if is_plain else find(answer) or ""
        words = "; ".join(map(str, words)) if isinstance(words, list) else str(words)
        self._refuse(response, f"{answered}: {words}" if words else answered)

    def _refuse(self, response: http.Response, answered: str) -> NoReturn:
        status, headers = response.status, dict(response.headers)
        if status == 401:
            why = f"{answered}. Are the credentials right?"
            raise error(ErrorCode.UNAUTHORIZED, why, self.secret)
        if status == 403:
            why = f"{answered}. Does the user of the credentials have the right to do this?"
            raise error(ErrorCode.UNAUTHORIZED, why)
        if status == 404 and (response.text or "").lstrip().startswith("<"):
            why = f"{answered}{NOT_FOUND}; is this the address of {self.name}?"
            raise error(ErrorCode.REJECTED, why, self.address)
        if status == 404:
            raise error(ErrorCode.REJECTED, answered + NOT_FOUND)
        if status == 429:
            wait = seconds_until(headers.get("retry-after"), headers.get("date"))
            raise error(ErrorCode.RATE_LIMITED, answered, None, wait)
        if status < 400 and "location" in headers:
            why = f"{answered} and redirects to {headers['location']}"
            raise error(ErrorCode.REJECTED, why, self.address)
        raise error(ErrorCode.REJECTED if status < 500 else ErrorCode.UNAVAILABLE, answered)


def seconds_until(wait: str | None, answered: str | None) -> int | None:
    """Returns the wait that the header `Retry-After` requests. The header is a number of seconds or a
    time. A time is compared with the time of the answer, because the clocks of the tracker and of this
    machine may differ. If the answer has no time, this machine's clock is used."""
    if wait and wait.strip().isdecimal():
        return int(wait)
    until, now = _time(wait), _time(answered) or datetime.now(timezone.utc)
    return max(0, round((until - now).total_seconds())) if until else None


def _time(text: str | None) -> datetime | None:
    try:
        time = parsedate_to_datetime(text or "")
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
