"""The worker's listeners. A reload changes them without dropping a visitor."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ferry.config.model import Config
from ferry.edge.acceptor import Acceptor
from ferry.edge.descriptors import DescriptorGate
from ferry.edge.http.edge import HttpEdge
from ferry.edge.listeners import endpoint_of, listen_on
from ferry.edge.server import server_on
from ferry.edge.shared_port import SharedPort
from ferry.edge.tls.certificates import Certificates
from ferry.edge.tls.context import sni_of
from ferry.names import Endpoint
from ferry.report import Report
from ferry.ssh.server import SshServer

from .in_force import ConfigInForce


@dataclass(slots=True)
class _Open:
    """One open listener."""

    bound: Endpoint
    close: Callable[[], None]
    unidentified: Callable[[], int] = int
    """The number of its connections whose protocol is not known yet."""


class Bound(NamedTuple):
    """The listeners of one configuration, before it is in force."""

    wanted: set[tuple[str, Endpoint]]
    """The role and the address of each."""
    new: list[tuple[str, Endpoint, socket.socket]]
    """Those that are not open yet."""


class Listening:
    """SSH, HTTP and HTTPS listeners, one per role and address. TCP ports belong to their tunnels."""

    def __init__(
        self,
        edge: HttpEdge,
        certificates: Certificates,
        in_force: ConfigInForce,
        report: Report,
        gate: DescriptorGate,
    ) -> None:
        self._edge = edge
        self._certificates = certificates
        self._in_force = in_force
        self._report = report
        self._gate = gate
        self._open: dict[tuple[str, Endpoint], _Open] = {}
        self._admin: list[Endpoint] = []

    async def bind(self, config: Config) -> Bound:
        """Bind the listeners of `config` that are new, for `serve`. They accept nobody yet.

        Raises StartupError, with everything as it was, when an address cannot be bound.
        """
        wanted = _wanted(config)
        return Bound(wanted, await self._bind(wanted - self._open.keys()))

    async def serve(self, bound: Bound, ssh: SshServer) -> None:
        """Accept on the new listeners, then close those that are no longer wanted."""
        for role, endpoint, sock in bound.new:
            self._open[role, endpoint] = await self._serve(role, sock, ssh)
        for key in self._open.keys() - bound.wanted:
            self._open.pop(key).close()

    async def _bind(self, new: set[tuple[str, Endpoint]]) -> list[tuple[str, Endpoint, socket.socket]]:
        bound: list[tuple[str, Endpoint, socket.socket]] = []
        try:
            for role in ("ssh", "http", "https"):
                added = sorted((endpoint for of, endpoint in new if of == role), key=str)
                if added:
                    sockets = await listen_on(added, setting=f"{role}.listen", report=self._report)
                    bound.extend((role, _asked(added, sock), sock) for sock in sockets)
        except BaseException:
            for _, _, sock in bound:
                sock.close()
            raise
        return bound

    def note_admin(self, bound: list[Endpoint]) -> None:
        """Note the admin addresses that the console has bound, for `bound`."""
        self._admin = bound

    def bound(self) -> dict[str, list[Endpoint]]:
        """The bound addresses, by role."""
        found: dict[str, list[Endpoint]] = {"ssh": [], "http": [], "https": [], "admin": self._admin}
        for (role, _), listener in sorted(self._open.items(), key=lambda item: str(item[0])):
            found[role].append(listener.bound)
        return found

    @property
    def unidentified(self) -> int:
        """The number of connections on HTTPS ports whose protocol is not known yet."""
        return sum(listener.unidentified() for listener in self._open.values())

    def close(self) -> None:
        """Accept no new connections. Existing ones go on."""
        while self._open:
            self._open.popitem()[1].close()

    async def _serve(self, role: str, sock: socket.socket, ssh: SshServer) -> _Open:
        bound = endpoint_of(sock.getsockname())
        if role == "https":
            shared = self._shared_port(sock, bound.port, ssh)
            shared.start()
            return _Open(bound, shared.close, shared.__len__)
        if role == "ssh":
            acceptor = Acceptor([sock], ssh.take, report=self._report, gate=self._gate)
            acceptor.start()
            return _Open(bound, acceptor.close)

        def visitor() -> asyncio.Protocol:
            return self._edge.protocol(secure=False, port=self._in_force.config.http_port or bound.port)

        server = server_on(sock, visitor, report=self._report, gate=self._gate)
        await server.start()
        return _Open(bound, server.close)

    def _shared_port(self, sock: socket.socket, port: int, ssh: SshServer) -> SharedPort:
        """The HTTPS port, which serves SSH and plain HTTP too. It reads the configuration in force at each connection."""

        def visitor() -> asyncio.Protocol:
            return self._edge.protocol(
                secure=True,
                port=self._in_force.config.https_port or port,
                sni=sni_of,
                certificate_for=self._certificates.certificate_for,
            )

        def client(accepted: socket.socket) -> None:
            if self._in_force.config.https.ssh:
                ssh.take(accepted)
            else:
                ssh.turn_away(accepted)

        return SharedPort(
            [sock],
            ssh=client,
            tls_protocol=visitor,
            redirect=lambda: self._edge.redirect(self._in_force.config.https_port or port),
            context=self._certificates.context,
            report=self._report,
            gate=self._gate,
        )


def _wanted(config: Config) -> set[tuple[str, Endpoint]]:
    """The role and the address of each listener."""
    sections = (("ssh", config.ssh), ("http", config.http), ("https", config.https))
    return {(role, endpoint) for role, section in sections for endpoint in section.listen}


def _asked(endpoints: list[Endpoint], sock: socket.socket) -> Endpoint:
    """The address in `endpoints` that this socket was bound for. Its port 0 has become a number."""
    bound = endpoint_of(sock.getsockname())
    for endpoint in endpoints:
        if endpoint.host in (bound.host, "::") and endpoint.port in (0, bound.port):
            return endpoint
    return bound
