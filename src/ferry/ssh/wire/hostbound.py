"""Log-ins that name the host key of the gateway too: the method `publickey-hostbound-v00@openssh.com` (OpenSSH's PROTOCOL,
section 3.1).

Stock OpenSSH asks by it from 8.9 on, where a server offers it. An agent that holds a key for some hosts alone (`ssh-add -h`)
signs for a further host only what names that host's key, so without it such a key opens no log-in through `ssh -A`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncssh import auth
from asyncssh.packet import SSHPacket, String

if TYPE_CHECKING:
    from asyncssh.connection import SSHServerConnection

METHOD: Final = b"publickey-hostbound-v00@openssh.com"
EXTENSION: Final = (b"publickey-hostbound@openssh.com", b"0")
"""Its name and its version, for SSH_MSG_EXT_INFO (RFC 8308)."""


class _HostboundAuth(auth.ServerAuth):
    """As asyncssh's `publickey`, with one field more, which the signature covers."""

    @classmethod
    def supported(cls, conn: SSHServerConnection) -> bool:
        return conn.public_key_auth_supported()

    async def _start(self, packet: SSHPacket) -> None:
        has_signature = packet.get_boolean()
        algorithm, key_data, host_key = packet.get_string(), packet.get_string(), packet.get_string()
        signed = packet.get_consumed_payload() if has_signature else b""
        signature = packet.get_string() if has_signature else b""
        packet.check_end()
        ours = self._conn.get_server_host_key()
        if (
            ours is None
            or ours.public_data != host_key
            or not await self._conn.validate_public_key(self._username, key_data, signed, signature)
        ):
            self.send_failure()
        elif has_signature:
            await self.send_success()
        else:
            self.send_packet(auth.MSG_USERAUTH_PK_OK, String(algorithm), String(key_data))


# Not among the methods that a refusal lists: a client takes it from the extension alone, as with sshd.
auth._server_auth_handlers[METHOD] = _HostboundAuth
