"""The rules between keys of the configuration, which no field can check alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ferry.names import Endpoint
from ferry.protocol.key_paths import parse_key_path

from .model import Config, Names
from .sshd import keys_needed
from .values import is_loopback

SHOWN_NAMES: Final = 3


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about keys that do not go together. It names them, with their values and what to write."""

    keys: tuple[str, ...]
    """The keys that the rule reads; first the one to change."""
    text: str


def mistakes(config: Config) -> list[Remark]:
    """All the rules that `config` breaks."""
    return [
        *_ssh_is_served(config),
        *_access_is_chosen(config),
        *_admin_is_local(config),
        *_ports_are_distinct(config),
        *_sockets_have_a_folder(config),
        *_several_keys_are_of_somebody(config),
        *_tags_have_a_policy(config),
    ]


def _several_keys_are_of_somebody(config: Config) -> Iterator[Remark]:
    several = [methods for each in config.sshd.tables if (keys_needed(methods := each.authentication_methods) or 0) > 1]
    if several and config.access.mode == "anyone":
        text = (
            f'authentication_methods = ["{several[0][0]}"] needs access.mode = "keys": with "anyone" each client makes its keys '
            'itself, so two prove no more than one. Write mode = "keys" in [access], or authentication_methods = ["publickey"]'
        )
        yield Remark(("sshd.authentication_methods", "sshd.match", "access.mode"), text)


def _tags_have_a_policy(config: Config) -> Iterator[Remark]:
    number = next((number for number, each in enumerate(config.sshd.match, 1) if each.tag), None)
    if number is not None and config.access.policy is None:
        text = (
            f"sshd.match {number} is for a tag, and there is no policy file, which has the tags: write "
            'policy = "/etc/ferry/policy.toml" in [access], or identity in place of tag'
        )
        yield Remark((f"sshd.match.{number - 1}", "sshd.match", "access.policy"), text)


def _sockets_have_a_folder(config: Config) -> Iterator[Remark]:
    folder = config.sshd.streamlocal_folder
    wanted = [each for each in config.sshd.tables if each.allow_streamlocal_forwarding not in (None, "no")]
    if wanted and folder is None:
        text = (
            f'allow_streamlocal_forwarding = "{wanted[0].allow_streamlocal_forwarding}" needs a folder: write '
            'streamlocal_folder = "/run/ferry/sockets" in [sshd]'
        )
        yield Remark(("sshd.allow_streamlocal_forwarding", "sshd.match"), text)
    if folder is not None:
        state, sockets = config.state.resolve(), folder.resolve()
        if sockets == state or state in sockets.parents or sockets in state.parents:
            text = (
                f"sshd.streamlocal_folder = {folder} and the state folder {config.state} are one inside the other: write "
                "another folder, such as /run/ferry/sockets"
            )
            yield Remark(("sshd.streamlocal_folder", "state"), text)


def surprises(config: Config) -> list[Remark]:
    """Settings that are valid, and may mean something else than their operator thinks."""
    return [
        *_keepalives_are_sent(config),
        *_built_in_names_stay_reserved(config),
        *_gateway_ports_open_something(config),
        *_login_names_are_bound(config),
        *_matches_are_for_somebody(config),
    ]


def _gateway_ports_open_something(config: Config) -> Iterator[Remark]:
    opening = [each for each in config.sshd.tables if each.gateway_ports in ("yes", "clientspecified")]
    if opening and all(is_loopback(address) for address in config.tcp.public_addresses):
        text = (
            f'gateway_ports = "{opening[0].gateway_ports}" opens nothing to the network, because tcp.public_addresses has '
            'loopback addresses only: write tcp.public_addresses = ["0.0.0.0", "::"]'
        )
        yield Remark(("sshd.gateway_ports", "sshd.match", "tcp.public_addresses"), text)


def _login_names_are_bound(config: Config) -> Iterator[Remark]:
    by_user = [number for number, each in enumerate(config.sshd.match, 1) if each.user and each.user != ["*"]]
    if by_user and not (config.access.keys and all(parse_key_path(path).part for path in config.access.keys)):
        text = (
            f"sshd.match {by_user[0]} is about login names (user), and a client may choose another one: keep what nobody "
            "may escape at the top of [sshd], write identity or tag in place of user, or bind keys to login names with %u in "
            "access.keys"
        )
        yield Remark((f"sshd.match.{by_user[0] - 1}", "sshd.match"), text)


def _matches_are_for_somebody(config: Config) -> Iterator[Remark]:
    for number, match in enumerate(config.sshd.match, 1):
        for name, words in (("user", match.user), ("identity", match.identity), ("tag", match.tag)):
            if words and all(word.startswith("!") for word in words):
                text = (
                    f"sshd.match {number} is for nobody, because {name} only leaves out (as in sshd_config): "
                    f'write {name} = ["*", "{words[0]}"]'
                )
                yield Remark((f"sshd.match.{number - 1}", "sshd.match"), text)


def _keepalives_are_sent(config: Config) -> Iterator[Remark]:
    if not config.ssh.keepalive_interval:
        text = (
            'ssh.keepalive_interval = "0" turns keepalives off: a client whose network breaks keeps its connection, '
            'tunnels and names until TCP gives up, up to hours later. Write "15s", or a longer interval'
        )
        yield Remark(("ssh.keepalive_interval",), text)


def _built_in_names_stay_reserved(config: Config) -> Iterator[Remark]:
    built_in: list[str] = Names.model_fields["reserved"].get_default()
    freed = sorted(set(built_in) - {*config.names.reserved, *config.names.reserved_more})
    if freed:
        some = ", ".join(freed[:SHOWN_NAMES]) + (
            f" and {len(freed) - SHOWN_NAMES} more" if len(freed) > SHOWN_NAMES else ""
        )
        text = (
            f"names.reserved replaces the built-in list, so that anybody may have {some}. "
            "To add names to the list, write them in names.reserved_more instead"
        )
        yield Remark(("names.reserved",), text)


def _ssh_is_served(config: Config) -> Iterator[Remark]:
    if not config.ssh.listen and not (config.https.listen and config.https.ssh):
        text = "no listener serves SSH: write ssh.listen, or https.listen with https.ssh = true"
        yield Remark(("ssh.listen", "https.listen", "https.ssh"), text)


def _access_is_chosen(config: Config) -> Iterator[Remark]:
    access = config.access
    if config.listens_beyond_loopback and "mode" not in access.model_fields_set:
        text = (
            "this gateway listens beyond loopback and access.mode is not set: anybody could connect. "
            'Write mode = "keys" and keys = ["/etc/ferry/keys"] in [access], or mode = "anyone" to give tunnels to everybody'
        )
        yield Remark(("ssh.listen", "https.listen", "https.ssh", "access.mode"), text)
    elif access.keys and "mode" not in access.model_fields_set:
        text = (
            "access.keys is set and access.mode is not: anybody could connect. "
            'Write mode = "keys" in [access], or mode = "anyone"'
        )
        yield Remark(("access.keys", "access.mode"), text)
    if access.mode == "keys" and not access.keys and not access.trusted_ca_keys:
        text = 'access.mode = "keys" needs keys: write keys = ["/etc/ferry/keys"], a file or a folder of public keys'
        yield Remark(("access.mode", "access.keys"), text)
    if access.mode == "anyone" and access.trusted_ca_keys:
        text = (
            'access.trusted_ca_keys needs access.mode = "keys": with "anyone" each key is let in, and certificates are not '
            "looked at"
        )
        yield Remark(("access.trusted_ca_keys", "access.mode"), text)
    if access.authorized_principals is not None and not access.trusted_ca_keys:
        text = (
            "access.authorized_principals is for the CAs of access.trusted_ca_keys, and there are none: write some there, or "
            "principals= behind cert-authority in a file of access.keys"
        )
        yield Remark(("access.authorized_principals", "access.trusted_ca_keys"), text)


def _admin_is_local(config: Config) -> Iterator[Remark]:
    for endpoint in config.admin.listen:
        if not is_loopback(endpoint.host):
            text = f"admin.listen = {shown(endpoint)} is not a loopback address: write 127.0.0.1:{endpoint.port}"
            yield Remark(("admin.listen",), text)


def _ports_are_distinct(config: Config) -> Iterator[Remark]:
    listeners = {
        "ssh.listen": config.ssh.listen,
        "http.listen": config.http.listen,
        "https.listen": config.https.listen,
        "admin.listen": config.admin.listen,
    }
    for key, endpoints in listeners.items():
        if pair := _clash(itertools.combinations(endpoints, 2), one_key=True):
            text = f"{key} has {pair[0]} and {pair[1]}, and one address contains the other: delete one of them"
            yield Remark((key,), text)
    for (first, ours), (second, theirs) in itertools.combinations(listeners.items(), 2):
        if pair := _clash(itertools.product(ours, theirs), one_key=False):
            same = f"{first} and {second} both have {pair[0]}"
            what = same if pair[0] == pair[1] else f"{first} has {pair[0]} and {second} has {pair[1]}, the same port"
            yield Remark((second, first), f"{what}: {_advice(first, second, config)}")


def _clash(pairs: Iterator[tuple[Endpoint, Endpoint]], *, one_key: bool) -> tuple[str, str] | None:
    return next(((shown(a), shown(b)) for a, b in pairs if overlap(a, b, one_key=one_key)), None)


def _advice(first: str, second: str, config: Config) -> str:
    match first, second:
        case "ssh.listen", "https.listen" if config.https.ssh:
            return "https.listen serves SSH too, so write ssh.listen = [], or another port"
        case "http.listen", "https.listen":
            return (
                "write another port for one of them, such as *:80 and *:443. "
                "The HTTPS port redirects plain HTTP, so http.listen = [] will do too"
            )
        case _:
            return "write another port for one of them"


def overlap(one: Endpoint, other: Endpoint, *, one_key: bool = False) -> bool:
    """Whether only one of two sockets can listen, as Linux decides. `::` means IPv4 too, unless the same key (`one_key`)
    also has 0.0.0.0. A key may have the same address twice: it is opened once. Port 0 is a free port each time."""
    if one.port != other.port or one.port == 0:
        return False
    if one.host == other.host:
        return not one_key
    hosts = {one.host, other.host}
    if "::" in hosts:
        return not (one_key and "0.0.0.0" in hosts)
    return "0.0.0.0" in hosts and all("." in host for host in hosts)


def shown(endpoint: Endpoint) -> str:
    """An address as people write it: `*:443` for every address of the host."""
    return f"*:{endpoint.port}" if endpoint.host == "::" else str(endpoint)


def listed(endpoints: Sequence[Endpoint]) -> str:
    """Addresses on one line; `off` if there are none."""
    return ", ".join(map(shown, endpoints)) or "off"
