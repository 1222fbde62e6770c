"""`[sshd]` of a configuration, as the rules by which `ferry.policy` decides."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ferry.kinds.rules import GatewayPorts
from ferry.policy.rulebook import Rulebook
from ferry.policy.sshd import Forwarding, Match, SshdOptions, SshdRules
from ferry.protocol.host_patterns import parse_host_list
from ferry.protocol.key_algorithms import parse_algorithms
from ferry.protocol.permits import parse_permit_listen, parse_permit_open

from .model import Config
from .sshd import Keywords, keys_needed, permits_of
from .words import counted

_FORWARDING: Final[Mapping[str, Forwarding]] = MappingProxyType(
    {
        "yes": Forwarding.ALL,
        "all": Forwarding.ALL,
        "local": Forwarding.LOCAL,
        "remote": Forwarding.REMOTE,
        "no": Forwarding.NONE,
    }
)
_RULES: Final[Mapping[str, str]] = MappingProxyType({"authentication_methods": "keys_needed"})
"""Settings that `SshdOptions` calls by another name."""


def sshd_rules_of(config: Config, book: Rulebook | None) -> SshdRules:
    """The operator's settings with sshd's names."""
    matches = [
        Match(
            _sshd_options(config, match, f"sshd.match.{number}"),
            user=",".join(match.user),
            identity=",".join(match.identity),
            tag=",".join(match.tag),
            address=parse_host_list(",".join(match.address)) if match.address else None,
            local_address=parse_host_list(",".join(match.local_address)) if match.local_address else None,
            local_port=tuple(match.local_port),
        )
        for number, match in enumerate(config.sshd.match)
    ]
    return SshdRules(_sshd_options(config, config.sshd, "sshd"), tuple(matches), book)


def _sshd_options(config: Config, keywords: Keywords, table: str) -> SshdOptions:
    """The settings of one table, which has the dotted key `table`."""
    permit_listen = permits_of(keywords.permit_listen, parse_permit_listen)
    permit_open = permits_of(keywords.permit_open, parse_permit_open)
    return SshdOptions(
        allow_tcp_forwarding=_FORWARDING.get(keywords.allow_tcp_forwarding or ""),
        gateway_ports=GatewayPorts(keywords.gateway_ports) if keywords.gateway_ports else None,
        permit_listen=permit_listen,
        permit_open=permit_open,
        disable_forwarding=keywords.disable_forwarding,
        max_sessions=keywords.max_sessions,
        client_alive_interval=keywords.client_alive_interval,
        client_alive_count_max=keywords.client_alive_count_max,
        allow_streamlocal_forwarding=_FORWARDING.get(keywords.allow_streamlocal_forwarding or ""),
        streamlocal_bind_unlink=keywords.streamlocal_bind_unlink,
        keys_needed=keys_needed(keywords.authentication_methods),
        pubkey_accepted_algorithms=parse_algorithms(algorithms)
        if (algorithms := keywords.pubkey_accepted_algorithms)
        else None,
        places={
            _RULES.get(name, name): config.written.places.get(key := f"{table}.{name}", counted(key))
            for name in keywords.model_fields_set
        },
    )
