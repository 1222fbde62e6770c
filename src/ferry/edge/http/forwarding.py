"""The request head for a tunnel's service, with the forwarding fields: the visitor's address, scheme, host and port."""

from __future__ import annotations

from typing import Protocol

from ferry import limits
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.serialize import forwarding_fields, loop_field, request_head


class Recipient(Protocol):
    """The tunnel of a request."""

    mark: bytes
    """Its mark (`policy.loops`)."""

    @property
    def host_header(self) -> bytes:
        """The Host that its service gets; empty: the visitor's."""
        ...


class Forwarding:
    """For one visitor's connection. `host` is the visitor's numeric address, `port` the port in its URLs."""

    __slots__ = ("_fields", "_fields_for", "_host", "_port", "_secure", "wire", "wire_of")

    def __init__(self, host: str, *, secure: bool, port: int) -> None:
        self._host = host
        self._secure = secure
        self._port = port
        self._fields = self._fields_for = b""
        self.wire_of: RequestHead | None = None
        """The last request, if its head was small. The next one is usually the same."""
        self.wire = b""
        """The head that the service got for it."""

    def head(self, request: RequestHead, to: Recipient) -> bytes:
        """The head of `request`. The same authority always has the same mark."""
        data = request_head(request, self._forwarding_fields(request, to.mark), to.host_header)
        if len(data) <= limits.HEAD_REMEMBERED_BYTES:
            self.wire_of, self.wire = request, data
        return data

    def forget(self) -> None:
        """The next request may be for another tunnel, which may have another Host."""
        self.wire_of = None

    def _forwarding_fields(self, request: RequestHead, mark: bytes) -> bytes:
        authority = request.authority
        if authority != self._fields_for or request.loop:
            fields = forwarding_fields(self._host, authority, secure=self._secure, port=self._port)
            if request.loop:
                return fields + loop_field(request.loop, mark)
            self._fields = fields + loop_field(b"", mark)
            self._fields_for = authority
        return self._fields
