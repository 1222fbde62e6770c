"""A client for the running gateway's API: HTTP over its control socket, with the standard library alone.

`ferry ls` in a prompt or a loop must be quick, so nothing of the gateway is imported here.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from ferry import limits
from ferry.errors import FerryError
from ferry.names import printable

from .locate import connect_control, find_state

API: Final = "/api/v1"


class ApiError(FerryError):
    """The gateway answered with an error. The message includes the fix."""

    def __init__(self, status: int, error: str, fix: str) -> None:
        super().__init__(f"{error}: {fix}" if fix else error)
        self.status = status
        self.error = error
        self.fix = fix


class _ControlConnection(http.client.HTTPConnection):
    def __init__(self, state: Path) -> None:
        super().__init__("localhost")
        self._state = state

    def connect(self) -> None:
        self.sock = connect_control(self._state)
        self.sock.settimeout(limits.CONTROL_ANSWER_SECONDS)


class Gateway:
    """The API of the gateway whose state folder is `state`. Every method raises FerryError with what to do."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def get(self, path: str, **query: str | int | Sequence[int] | None) -> Any:
        """The JSON document at `path` under /api/v1."""
        return self._ask("GET", _with_query(path, query))

    def post(self, path: str, document: object) -> Any:
        """Send a JSON document to `path`. Returns the API's answer."""
        return self._ask("POST", f"/{path}", json.dumps(document).encode())

    def delete(self, collection: str, target: str) -> Any:
        """Delete `target` from `tunnels`, `connections`, `names` or `blocked`. Returns the API's answer."""
        return self._ask("DELETE", f"/{collection}/{quote(os.fsencode(target), safe='')}")

    def lines(self, path: str, *, endless: bool, **query: str | int | None) -> Iterator[dict[str, Any]]:
        """The JSON objects of an NDJSON answer, as they arrive. `endless`: wait for the next one without a time-out."""
        with self._answer("GET", _with_query(path, query)) as answer:
            _check(answer)
            if endless:
                answer.connection.sock.settimeout(None)
            while line := answer.readline():
                yield json.loads(line)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        with self._answer(method, path, body) as answer:
            _check(answer)
            return json.loads(answer.read())

    @contextmanager
    def _answer(self, method: str, path: str, body: bytes | None = None) -> Iterator[_Answer]:
        connection = _ControlConnection(self.state)
        try:
            connection.request(method, API + path, body, {"Content-Type": "application/json"} if body else {})
            yield _Answer(connection, connection.getresponse())
        except TimeoutError:
            raise FerryError(
                f"the gateway at {self.state} does not answer within {limits.CONTROL_ANSWER_SECONDS:.0f} s: "
                "look at its log, or restart it"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise FerryError(
                f"the gateway at {self.state} closed the connection before it answered ({error!r})"
            ) from None
        except ValueError:
            raise _other_version() from None
        finally:
            connection.close()


class _Answer:
    """A response and its connection: `http.client` drops the socket when a response has `Connection: close`."""

    def __init__(self, connection: _ControlConnection, response: http.client.HTTPResponse) -> None:
        self.connection = connection
        self.status = response.status
        self.read = response.read
        self.readline = response.readline


def find_gateway(state: Path | None, config: Path | None) -> Gateway:
    """The running gateway. Raises FerryError with the folders that were tried."""
    return Gateway(find_state(state, os.environ, config=config))


def unread_keys(gateway: Gateway) -> str:
    """Why some keys of the files do not count now; empty if all do. A gateway of an earlier version does not tell."""
    return str((gateway.get("status").get("access") or {}).get("error", ""))


def rules_for(gateway: Gateway, key: str, name: str | None, ports: Sequence[int] = ()) -> dict[str, Any] | None:
    """`KeyRules`, as a document; None without a policy file. A gateway of an earlier version does not tell."""
    try:
        found: dict[str, Any] | None = gateway.get("keys/rules", key=key, name=name, ports=ports)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None
    return found


@contextmanager
def known_fields() -> Iterator[None]:
    """Read the API's documents. An older or newer gateway, which runs on after an upgrade, may have other fields. Raises
    FerryError then."""
    try:
        yield
    except (KeyError, TypeError):
        raise _other_version() from None


def _other_version() -> FerryError:
    return FerryError(
        "the gateway answers in a form that this command does not know: it is of another version. Restart it "
        "(`systemctl restart ferry`)"
    )


def _with_query(path: str, query: Mapping[str, str | int | Sequence[int] | None]) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    return f"/{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")


def _check(answer: _Answer) -> None:
    if answer.status < 400:
        return
    body = answer.read()
    try:
        document = json.loads(body)
        error, fix = str(document["error"]), str(document["fix"])
    except (ValueError, KeyError, TypeError):
        error, fix = f"the gateway answered {answer.status}", "is it of the same version as this command?"
    lines = (printable(line, limits.LOG_FIELD_CHARS) for line in error.split("\n"))
    raise ApiError(answer.status, "\n".join(lines), printable(fix, limits.LOG_FIELD_CHARS))
