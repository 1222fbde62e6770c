"""Why what stands in an sshd_config stays behind, or does not carry over as it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_NO_SHELL: Final = "Ferry has no shells, files or desktops: there is nothing to set"
_NO_ACCOUNTS: Final = "Ferry has no accounts: a public key is an identity, and access.keys says which may connect"
_HOST_CERTIFICATES: Final = (
    "Ferry takes the certificate of a host key from the state folder: copy it there as ssh_host_ed25519_key-cert.pub, "
    "ssh_host_rsa_key-cert.pub or ssh_host_ecdsa_key-cert.pub"
)
_CRYPTO: Final = "Ferry offers its own list, without weak algorithms"
_HOST_KEYS: Final = (
    "Ferry makes host keys of its own. To keep those that clients know, copy ssh_host_ed25519_key, ssh_host_rsa_key "
    "and ssh_host_ecdsa_key into the state folder before the first start"
)
_KEYS_ONLY: Final = "Ferry knows no passwords and asks no other program: public keys alone"
ZERO: Final = "0 is never in sshd; Ferry always closes a client that is gone"
NOT_FOR_SOME: Final = "Ferry has no such setting for some people alone"
NOT_TAKEN: Final = "sshd itself does not take this value"
CHOSEN: Final = (
    "it carries over, but a client of Ferry chooses its login name, unless access.keys has %u: keep what nobody may "
    "escape at the top of [sshd], or write identity = in place of user ="
)
MEMBERS: Final = "it carries over as the login names that are in the group on this host now"
_SOCKET_MODE: Final = "Ferry's sockets are for its own user alone (mode 0600)"
_PROCESS: Final = "this is about sshd's own process"
WHY_NOT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "authenticationmethods": f"{_KEYS_ONLY}: publickey, or publickey,publickey",
        "clientalivecountmax": ZERO,
    }
)
"""Of keywords that Ferry has, and some of whose values it does not take."""
WHY: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "acceptenv", "allowagentforwarding", "chrootdirectory", "exposeauthinfo", "forcecommand",
                "permittty", "permituserenvironment", "permituserrc", "printlastlog", "printmotd", "setenv", "subsystem",
                "x11displayoffset", "x11forwarding", "x11uselocalhost", "xauthlocation",
            ),
            _NO_SHELL,
        ),
        **dict.fromkeys(
            ("allowgroups", "allowusers", "denygroups", "denyusers", "permitrootlogin"), _NO_ACCOUNTS
        ),
        **dict.fromkeys(
            (
                "authorizedkeyscommand", "authorizedkeyscommanduser", "gssapiauthentication",
                "hostbasedauthentication", "ignorerhosts", "kbdinteractiveauthentication", "kerberosauthentication",
                "passwordauthentication", "permitemptypasswords", "pubkeyauthentication", "pubkeyauthoptions", "usepam",
            ),
            _KEYS_ONLY,
        ),
        **dict.fromkeys(("authorizedprincipalscommand", "authorizedprincipalscommanduser"), _KEYS_ONLY),
        **dict.fromkeys(
            (
                "casignaturealgorithms", "ciphers", "compression", "hostkeyalgorithms", "kexalgorithms", "macs",
                "requiredrsasize", "rekeylimit",
            ),
            _CRYPTO,
        ),
        **dict.fromkeys(("hostkey", "hostkeyagent"), _HOST_KEYS),
        **dict.fromkeys(
            (
                "debianbanner", "fingerprinthash", "ipqos", "logverbose", "modulifile", "pidfile", "rdomain",
                "sshdauthpath", "sshdsessionpath", "syslogfacility", "tcpkeepalive", "versionaddendum",
            ),
            _PROCESS,
        ),
        "banner": "the text of a file before the log-in; ssh.banner is about Ferry's own line",
        "hostcertificate": _HOST_CERTIFICATES,
        "channeltimeout": "Ferry closes no quiet connection through a tunnel",
        "streamlocalbindmask": _SOCKET_MODE,
        "permittunnel": "Ferry refuses `ssh -w`",
        "persourcenetblocksize": "Ferry counts by IPv4 /24 and IPv6 /64",
        "unusedconnectiontimeout": "Ferry keeps a connection as long as its client answers",
    }
)  # fmt: skip
"""Of each keyword that Ferry has not."""
