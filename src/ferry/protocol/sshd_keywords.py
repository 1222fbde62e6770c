"""The keywords of sshd_config(5): where each may stand, whether its lines add up, since when it exists, its default.

From OpenSSH 10.5 (servconf.h), with the keywords that Debian and Fedora add.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_AT_THE_TOP: Final = (
    "AddressFamily", "AFSTokenPassing", "CheckMail", "Ciphers", "Compression", "DebianBanner", "DSAAuthentication",
    "FingerprintHash", "GSSAPICleanupCredentials", "GSSAPIDelegateCredentials", "GSSAPIEnablek5users",
    "GSSAPIKexAlgorithms", "GSSAPIKeyExchange", "GSSAPIStoreCredentialsOnRekey", "GSSAPIStrictAcceptorCheck",
    "HostCertificate", "HostDSAKey", "HostKey", "HostKeyAgent", "HostKeyAlgorithms", "IgnoreUserKnownHosts", "KeepAlive",
    "KerberosGetAFSToken", "KerberosOrLocalPasswd", "KerberosTgtPassing", "KerberosTicketCleanup",
    "KerberosUniqueCCache", "KerberosUseKuserok", "KexAlgorithms", "KeyRegenerationInterval", "ListenAddress",
    "LoginGraceTime", "MACs", "MaxStartups", "ModuliFile", "PAMAuthenticationViaKbdInt", "PermitUserEnvironment",
    "PerSourceMaxStartups", "PerSourceNetBlockSize", "PerSourcePenalties", "PerSourcePenaltyExemptList", "PidFile",
    "Port", "PrintLastLog", "PrintMotd", "Protocol", "ReverseMappingCheck", "RhostsAuthentication",
    "SecurityKeyProvider", "ServerKeyBits", "SshdAuthPath", "SshdSessionPath", "StrictModes", "SyslogFacility",
    "TCPKeepAlive", "UseDNS", "UseLogin", "UsePAM", "UsePrivilegeSeparation", "VerifyReverseMapping", "VersionAddendum",
    "XAuthLocation",
)  # fmt: skip
_ANYWHERE: Final = (
    "AcceptEnv", "AllowAgentForwarding", "AllowGroups", "AllowStreamLocalForwarding", "AllowTcpForwarding",
    "AllowUsers", "AuthenticationMethods", "AuthorizedKeysCommand", "AuthorizedKeysCommandUser", "AuthorizedKeysFile",
    "AuthorizedKeysFile2", "AuthorizedPrincipalsCommand", "AuthorizedPrincipalsCommandUser",
    "AuthorizedPrincipalsFile", "Banner", "CASignatureAlgorithms", "ChallengeResponseAuthentication", "ChannelTimeout",
    "ChrootDirectory", "ClientAliveCountMax", "ClientAliveInterval", "DenyGroups", "DenyUsers", "DisableForwarding",
    "ExposeAuthInfo", "ForceCommand", "GatewayPorts", "GSSAPIAuthentication", "HostbasedAcceptedAlgorithms",
    "HostbasedAcceptedKeyTypes", "HostbasedAuthentication", "HostbasedUsesNameFromPacketOnly", "IgnoreRhosts", "Include",
    "IPQoS", "KbdInteractiveAuthentication", "KerberosAuthentication", "LogLevel", "LogVerbose", "Match",
    "MaxAuthTries", "MaxSessions", "PAMServiceName", "PasswordAuthentication", "PermitEmptyPasswords", "PermitListen",
    "PermitOpen", "PermitRootLogin", "PermitTTY", "PermitTunnel", "PermitUserRC", "PubkeyAcceptedAlgorithms",
    "PubkeyAcceptedKeyTypes", "PubkeyAuthentication", "PubkeyAuthOptions", "RDomain", "RefuseConnection", "RekeyLimit",
    "RequiredRSASize", "RevokedKeys", "RhostsRSAAuthentication", "RSAAuthentication", "RSAMinSize", "SetEnv",
    "SKeyAuthentication", "StreamLocalBindMask", "StreamLocalBindUnlink", "Subsystem", "TrustedUserCAKeys",
    "UnusedConnectionTimeout", "X11DisplayOffset", "X11Forwarding", "X11UseLocalhost",
)  # fmt: skip
BELOW_MATCH: Final = frozenset(name.lower() for name in _ANYWHERE)
"""The keywords that may stand below Match, in lower case."""
SPELLED: Final[Mapping[str, str]] = MappingProxyType({name.lower(): name for name in (*_AT_THE_TOP, *_ANYWHERE)})
"""All keywords: in lower case, and as the manual page spells them."""
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "challengeresponseauthentication": "kbdinteractiveauthentication",
        "dsaauthentication": "pubkeyauthentication",
        "hostbasedacceptedkeytypes": "hostbasedacceptedalgorithms",
        "hostdsakey": "hostkey",
        "keepalive": "tcpkeepalive",
        "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
        "skeyauthentication": "kbdinteractiveauthentication",
    }
)
"""Former names."""
ADDED_UP: Final = frozenset(
    {
        "acceptenv", "allowgroups", "allowusers", "denygroups", "denyusers", "hostcertificate", "hostkey", "include",
        "listenaddress", "match", "persourcepenalties", "port", "subsystem",
    }
)  # fmt: skip
"""The keywords of which every line counts. Of all others the first does."""
WHOLE_LINE: Final = frozenset(
    {"authorizedkeyscommand", "authorizedprincipalscommand", "forcecommand", "versionaddendum"}
)
"""The keywords whose value is the rest of the line, spaces included."""
SINCE: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "casignaturealgorithms": (7, 9),
        "channeltimeout": (9, 2),
        "disableforwarding": (7, 4),
        "exposeauthinfo": (7, 6),
        "include": (8, 2),
        "logverbose": (8, 5),
        "modulifile": (9, 0),
        "pamservicename": (9, 8),
        "permitlisten": (7, 8),
        "persourcemaxstartups": (8, 5),
        "persourcenetblocksize": (8, 5),
        "persourcepenalties": (9, 8),
        "persourcepenaltyexemptlist": (9, 8),
        "pubkeyauthoptions": (8, 2),
        "refuseconnection": (9, 9),
        "requiredrsasize": (9, 1),
        "securitykeyprovider": (8, 2),
        "setenv": (7, 8),
        "sshdsessionpath": (9, 8),
        "unusedconnectiontimeout": (9, 2),
    }
)
"""The version of OpenSSH that brought a keyword. An older sshd does not start with it."""
DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "acceptenv": (),
        "addressfamily": ("any",),
        "allowagentforwarding": ("yes",),
        "allowstreamlocalforwarding": ("yes",),
        "allowtcpforwarding": ("yes",),
        "authorizedkeyscommand": ("none",),
        "authorizedkeysfile": (".ssh/authorized_keys", ".ssh/authorized_keys2"),
        "channeltimeout": ("none",),
        "clientalivecountmax": ("3",),
        "clientaliveinterval": ("0",),
        "disableforwarding": ("no",),
        "forcecommand": ("none",),
        "gatewayports": ("no",),
        "logingracetime": ("120",),
        "loglevel": ("INFO",),
        "maxauthtries": ("6",),
        "maxsessions": ("10",),
        "maxstartups": ("10:30:100",),
        "permitlisten": ("any",),
        "permitopen": ("any",),
        "permittunnel": ("no",),
        "permituserenvironment": ("no",),
        "persourcemaxstartups": ("none",),
        "persourcepenalties": (),
        "persourcepenaltyexemptlist": ("none",),
        "streamlocalbindunlink": ("no",),
        "strictmodes": ("yes",),
        "tcpkeepalive": ("yes",),
        "unusedconnectiontimeout": ("none",),
        "usedns": ("no",),
    }
)
"""The values of keywords that are not written, as far as Ferry asks for them. `persourcepenalties` depends on the version."""
