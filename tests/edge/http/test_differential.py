"""The table of requests through the edge to services that parse differently.

Whatever a visitor sends, each service sees exactly one request, as meant, or none; a request hidden in another one
reaches nobody; and what a visitor left in doubt touches no other visitor.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from edge.http_origins import Origin, Sight, origins
from edge.http_rig import Rig, running_edge, statuses
from ferry.edge.http.shared import Bounds
from ferry.protocol.wrong_port import TLS_ALERT
from vectors.http1.table import Request, requests

pytestmark = pytest.mark.asyncio(loop_scope="module")

AFTER = b"GET /after HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n"
OURS = re.compile(r"(?:x-forwarded-.*|forwarded|cdn-loop)\Z")
FORWARDING = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded", "cdn-loop"]
FRAMING = ("content-length", "transfer-encoding")
DRIBBLED = ("nginx", "uvicorn, httptools")
"""In front of these, requests come octet by octet: how bytes are cut must not change what they mean."""
DRIBBLED_BYTES = 5_000
"""Longer ones do not: they are about how much there is."""
TLS_BEGINS = b"\x16\x03"
"""Such bytes get a TLS alert in place of the status."""
Behind = list[tuple[Origin, Rig]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Behind]:
    """Each service with an edge in front of it."""
    # a request that is refused early is read to its end, however long a busy machine takes to send it
    bounds = Bounds(linger_seconds=60, tick_seconds=0.05, pool_idle_seconds=60)
    async with contextlib.AsyncExitStack() as stack:
        services = await stack.enter_async_context(origins(tmp_path_factory.mktemp("origins")))
        yield [
            (
                service,
                await stack.enter_async_context(
                    running_edge(service.port, bounds=bounds, also=["xn--bcher-kva.localhost"])
                ),
            )
            for service in services
        ]


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count()


def as_meant(case: Request) -> Sight:
    """What the table says of a request."""
    line, *lines = case.sees.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    fields = [(name.lower(), value.strip(" \t")) for name, _, value in (text.partition(":") for text in lines if text)]
    host = next(value for name, value in fields if name == "host")
    return Sight(0, True, method, target, host, case.body, tuple(fields), "127.0.0.1")


def check_sight(seen: Sight, meant: Sight) -> None:
    assert (seen.method, seen.target, seen.host) == (meant.method, meant.target, meant.host)
    assert seen.body == meant.body
    assert seen.visitor == meant.visitor
    if seen.fields is not None and meant.fields is not None:
        assert [name for name, _ in seen.fields if OURS.match(name)] == FORWARDING

        def told(fields: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
            return sorted(pair for pair in fields if not OURS.match(pair[0]) and pair[0] not in FRAMING)

        assert told(seen.fields) == told(meant.fields)


@pytest.mark.parametrize("case", requests(), ids=str)
async def test_each_service_gets_the_intended_request_or_none(
    case: Request, behind: Behind, numbers: Iterator[int]
) -> None:
    number = next(numbers)
    results = await asyncio.gather(*(one(case, origin, rig, number) for origin, rig in behind), return_exceptions=True)
    wrong = {origin.name: error for (origin, _), error in zip(behind, results, strict=True) if error is not None}
    assert not wrong


async def one(case: Request, origin: Origin, rig: Rig, number: int) -> None:
    # who asks for the close and sends on all the same may get a reset
    dribble = origin.name in DRIBBLED and b"HTTP/1.0" not in case.send and len(case.send) < DRIBBLED_BYTES
    answer = await rig.talk(case.send + AFTER, dribble=dribble)
    # Somebody else comes next: it gets its own answer, over no stream that was in doubt.
    probe = f"/probe-{number}"
    own = await rig.talk(AFTER.replace(b"/after", probe.encode()))
    *seen, last = await origin.sights(probe)
    assert statuses(own) == [200]
    assert own.endswith(b"\r\n\r\n" + probe.encode())
    assert not [sight for sight in seen if "smuggled" in sight.target]
    whole = [sight for sight in seen if sight.whole]
    broken = [sight for sight in seen if not sight.whole]
    assert last.port not in [sight.port for sight in broken]
    if case.status in (404, 503):
        assert [sight.target for sight in whole] == ["/after"]
    elif case.status:
        if case.send.startswith(TLS_BEGINS):
            assert answer == TLS_ALERT
        else:
            assert statuses(answer) == [case.status]
            assert b"\r\nConnection: close\r\n" in answer
        assert not whole
        # a body that breaks off may have begun to go on
        assert len(broken) <= (b"chunked" in case.send)
    elif origin.name in case.refused_by:
        assert {sight.target for sight in whole} <= {"/after"}
        assert statuses(answer)[0] == 400
    else:
        check_sight(whole[0], as_meant(case))
        assert not broken
        # HTTP/1.0 does not go on unasked, and what stands behind an upgrade is no request
        goes_on = b"HTTP/1.0" not in case.send and b"Upgrade: " not in case.sees
        assert [sight.target for sight in whole[1:]] == ["/after"] * goes_on
        assert [status for status in statuses(answer) if status >= 200] == [200] * (1 + goes_on)
