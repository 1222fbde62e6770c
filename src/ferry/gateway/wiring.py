"""Makes the values that other packages take from the configuration. Pure: it opens nothing."""

from __future__ import annotations

from functools import partial

from ferry.config.model import Config
from ferry.config.sshd_rules import sshd_rules_of
from ferry.config.values import is_loopback
from ferry.edge.http.own_page import OwnPage
from ferry.edge.http.shared import Bounds
from ferry.hostnames import Domain, Urls
from ferry.kinds.rules import ForwardRules, PortRange, Purpose, Web
from ferry.observe.budgeted import LogRates
from ferry.policy.rulebook import Rulebook
from ferry.policy.visits import VisitPolicy
from ferry.registry.routes import Ports
from ferry.ssh.access import KeptNames, WatchedAccess
from ferry.ssh.forward_settings import ForwardSettings
from ferry.ssh.host_names import HostNames
from ferry.ssh.key_identities import Identities
from ferry.ssh.login import LoginSettings
from ferry.ssh.notices import Notices
from ferry.ssh.settings import SshSettings
from ferry.ssh.wire.connection import ConnectionBounds


def web_of(config: Config) -> Web:
    """The ports of `-R` that request a web address."""
    http = {endpoint.port for endpoint in config.http.listen} | {config.http.advertised_port or 80}
    https = {endpoint.port for endpoint in config.https.listen} | {config.https.advertised_port or 443}
    return Web(Domain(config.domain), frozenset(http | {80}), frozenset(https | {443}))


def rules_of(config: Config) -> ForwardRules:
    """The operator's rules for forwards and names."""
    ranges = tuple(PortRange(r.first, r.last, r.listen == "loopback") for r in config.tcp.ranges)
    number = config.tcp.range_for_any
    public_anyone = config.listens_beyond_loopback and config.access.mode == "anyone"
    return ForwardRules(
        domain=Domain(config.domain),
        reserved_names=frozenset(config.names.reserved + config.names.reserved_more),
        ranges=ranges,
        allocate_from=None if number is None else ranges[number],
        serves_web=config.http_port is not None or config.https_port is not None,
        keep=config.names.keep,
        rest=config.names.rest,
        reserve_after=config.names.reserve_after if public_anyone else 0.0,
        reservations_per_identity=config.names_per_identity,
        reservations_per_network=config.names.per_network_per_day if public_anyone else None,
        forwards_per_connection=config.limits.forwards_per_connection,
        forwards_per_identity=config.limits.forwards_per_identity,
        purposes=tuple(Purpose(name, *span) for name, span in config.tcp.purposes_in_ranges.items()),
        keeps_ports=config.access.mode == "keys",
        public_addresses=tuple(config.tcp.public_addresses),
        sockets=str(config.sshd.streamlocal_folder or ""),
    )


def visit_policy_of(config: Config) -> VisitPolicy:
    """The policy of visits."""
    return VisitPolicy(config.urls(lambda _host: False).gateway)  # the gateway's name does not depend on certificates


def login_settings_of(config: Config, access: WatchedAccess, identities: Identities) -> LoginSettings:
    """The settings of log-ins."""
    return LoginSettings(
        access=access,
        identities=identities,
        host_names=HostNames() if config.access.use_dns else None,
        banner=config.ssh.banner,
        tries=config.ssh.auth_tries,
        key_grace=config.ssh.key_grace,
        connections_per_identity=config.limits.connections_per_identity,
    )


def settings_of(
    config: Config,
    *,
    access: WatchedAccess,
    identities: Identities,
    ports: Ports,
    urls: Urls,
    names: KeptNames,
    book: Rulebook | None = None,
) -> SshSettings:
    """The settings of SSH connections. `names` are those of the database."""
    rules = rules_of(config)
    return SshSettings(
        login=login_settings_of(config, access, identities),
        forwards=ForwardSettings(rules, web_of(config), ports, urls, access, partial(names.place_of, access), book),
        notices=Notices(urls, rules, public_is_loopback(config)),
        request_log=config.session.request_log,
        end_refused=config.session.end_refused,
        bounds=connection_bounds_of(config),
        sshd=sshd_rules_of(config, book),
    )


def connection_bounds_of(config: Config) -> ConnectionBounds:
    """Bounds of one SSH connection."""
    return ConnectionBounds(
        channels=config.limits.channels_per_connection,
        global_requests_per_second=config.limits.global_requests_per_second,
    )


def http_bounds_of(config: Config) -> Bounds:
    """Bounds of the HTTP edge."""
    return Bounds(
        head_bytes=config.http.head_bytes,
        head_fields=config.http.head_fields,
        head_seconds=config.http.head_timeout,
        keepalive_seconds=config.http.keepalive_timeout,
        body_min_rate=config.http.body_min_rate,
        read_min_rate=config.http.read_min_rate,
        pace_seconds=config.http.pace_window,
        visitors_per_tunnel=config.limits.visitors_per_tunnel,
    )


def own_page_of(config: Config) -> OwnPage:
    """The page at the gateway's own name."""
    gateway = config.urls(lambda _host: False).gateway  # it does not depend on certificates
    return OwnPage(config.domain, gateway, config.access.mode == "keys", config.abuse_contact)


def log_rates_of(config: Config) -> LogRates:
    """Budgets of log lines."""
    log = config.log
    return LogRates(log.visits_per_second, log.visits_per_tunnel, log.lines_per_source)


def public_is_loopback(config: Config) -> bool:
    """Whether ports of public ranges can be reached from this host only."""
    return all(is_loopback(address) for address in config.tcp.public_addresses)
