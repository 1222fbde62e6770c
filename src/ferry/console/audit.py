"""The part of the API that serves the audit log: its records, one JSON object a line, and its last place.

Annotations are not postponed here: FastAPI could not resolve a dependency that is local to a function.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from ferry import limits
from ferry.observe.events import TooManySubscribers
from ferry.protocol.audit import Kind, Outcome, Wanted

from .models import AllowedKey, AuditHead
from .state import AuditReading

_NDJSON: Final = "application/x-ndjson"
_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
Moment = Annotated[str | None, Query(pattern=f"^{_TIME}$", description="RFC 3339 in UTC, with milliseconds.")]
Text = Annotated[str | None, Query(max_length=limits.AUDIT_FIELD_CHARS)]
Follow = Annotated[bool, Query(description="Follow new records until the reader disconnects.")]
Last = Annotated[int, Query(ge=0, le=limits.AUDIT_SHOWN, description="How many records at most, the newest ones.")]


def audit_routes(audit: AuditReading) -> APIRouter:
    """The routes below `/audit`."""
    api = APIRouter()
    followers = 0

    async def follower(follow: Follow = False) -> AsyncIterator[bool]:
        """Counted before the answer begins, because a refusal needs a status."""
        nonlocal followers
        if not follow:
            yield False
            return
        if followers >= limits.AUDIT_FOLLOWERS:
            raise TooManySubscribers(f"{followers} readers follow the audit log already: end one of them")
        followers += 1
        try:
            yield True
        finally:
            followers -= 1

    @api.get("/audit", response_class=StreamingResponse)
    async def records(
        following: Annotated[bool, Depends(follower)],
        identity: Text = None,
        key: Text = None,
        kind: Kind | None = None,
        outcome: Outcome | None = None,
        since: Moment = None,
        until: Moment = None,
        last: Last = limits.AUDIT_SHOWN,
    ) -> StreamingResponse:
        """Records, oldest first, one JSON object a line."""
        wanted = Wanted(identity, key, kind, outcome, since, until)
        head = await audit.head()  # before the answer begins: without a database it is an error
        past = await audit.last(wanted, last)

        async def lines() -> AsyncIterator[str]:
            yield "".join(f"{entry.line}\n" for entry in past)
            if following:
                async for entry in audit.follow(wanted, past[-1].link.seq if past else head.seq):
                    yield f"{entry.line}\n"

        return StreamingResponse(lines(), media_type=_NDJSON)

    @api.get("/audit/head")
    async def last_place() -> AuditHead:
        """The last record that is written."""
        head = await audit.head()
        return AuditHead(seq=head.seq, hash=head.hash, anchor=str(head))

    @api.post("/allowed")
    async def allowed(key: AllowedKey) -> AllowedKey:
        """Note that a key was added to a key file (`ferry allow`): the audit log has a record of each POST."""
        return key

    return api
