"""The API's answers. Times are RFC 3339 in UTC (made from seconds since the epoch), sizes are bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer


def moment(seconds: float) -> datetime:
    """Seconds since the epoch (`Clock.now`) as a `Moment`."""
    return datetime.fromtimestamp(seconds, UTC)


def _moment(value: object) -> object:
    return moment(value) if isinstance(value, int | float) else value


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(
        lambda at: at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), return_type=str
    ),
]


class ApiModel(BaseModel):
    """Base of all answers. They are immutable, and an unknown field is a bug of ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(ApiModel):
    """The body of every error."""

    error: str = Field(description="What went wrong.")
    fix: str = Field(description="What to do about it; empty where nothing helps.")


class Listeners(ApiModel):
    """Addresses that are listened on, as `host:port`."""

    ssh: list[str]
    http: list[str]
    https: list[str]
    admin: list[str]


class Counts(ApiModel):
    """Current counts."""

    connections: int = Field(description="SSH connections after their log-in.")
    tunnels: dict[str, int] = Field(description="Open tunnels by kind.")
    handshakes: int = Field(0, description="SSH log-ins in progress.")
    blocked: int = Field(0, description="Addresses that are blocked for failed log-ins.")


class StoreStatus(ApiModel):
    """Whether the database can be used."""

    ok: bool
    error: str = Field("", description="Why not. Running tunnels go on; new names are refused.")


class ConfigStatus(ApiModel):
    """Whether the configuration as it is in the file is in force."""

    ok: bool
    error: str = Field("", description="Why the last reload was refused. It changed nothing.")


class AccessStatus(ApiModel):
    """Whether the files that say who may log in can be read."""

    ok: bool
    error: str = Field("", description="Why not, and who may not log in. Running tunnels go on.")


class PolicyStatus(ApiModel):
    """The operator's policy (`access.policy`)."""

    file: str
    rules: int = Field(description="Rules that are in force.")
    error: str = Field("", description="Why the file as it is now is not in force. The earlier policy is.")


class AuditStatus(ApiModel):
    """Whether the audit log can be written."""

    ok: bool
    error: str = Field("", description="Why not. Records wait, up to a bound; with `audit.required`, nobody logs in.")


class AllowedKey(ApiModel):
    """A key that was added to a key file."""

    fingerprint: str
    file: str


class AuditHead(ApiModel):
    """The last record of the audit log that is written."""

    seq: int = Field(description="Its number; 0 if there is none.")
    hash: str
    anchor: str = Field(description="What `ferry audit verify --anchor` takes.")


class Status(ApiModel):
    """The gateway as a whole."""

    version: str
    pid: int
    domain: str
    state: str = Field(description="The state folder.")
    started: Moment
    uptime: float = Field(description="Seconds.")
    draining: bool
    listeners: Listeners
    counts: Counts
    store: StoreStatus
    policy: PolicyStatus | None = Field(None, description="None without a policy file: the lines of keys decide alone.")
    audit: AuditStatus = AuditStatus(ok=True)
    config: ConfigStatus = ConfigStatus(ok=True)
    access: AccessStatus = AccessStatus(ok=True)
    host_keys: list[str] = Field(description="`ED25519 SHA256:...`, as ssh-keygen -l prints them.")


class ReloadedInfo(ApiModel):
    """What a reload has put in force."""

    changed: list[str] = Field(description="Keys of the configuration with another value than before.")
    needs_restart: list[str] = Field(description="Keys that have changed and count from the next start on.")
    policy: PolicyStatus | None = Field(None, description="None without a policy file.")
    mistakes: list[str] = Field(
        default_factory=list, description="Lines and files of keys that let nobody in, each with its place."
    )
    more_mistakes: int = Field(0, description="Further ones, which are not in `mistakes`.")
    notes: list[str] = Field(default_factory=list, description="What may surprise about the configuration.")


class TunnelInfo(ApiModel):
    """One open tunnel."""

    id: str
    address: str = Field(description="As people write it: `blog.example.com`, `port 30042`, `laptop:22`.")
    kind: Literal["http", "tls", "tcp", "alias", "socket"]
    url: str | None = Field(description="Where visitors go; None for an alias.")
    identity: str
    connection: str = Field(description="The id of its SSH connection.")
    peer: str = Field(description="The client's address.")
    since: Moment
    up: int = Field(description="Bytes from visitors.")
    down: int = Field(description="Bytes to visitors.")
    visits: int
    silent_seconds: float = Field(
        0.0,
        description="Seconds since the client's last sign of life, once it leaves a keepalive unanswered; 0 before.",
    )
    bound: list[str] = Field(
        default_factory=list, description="Of a port: the addresses that it listens on, as `host:port`."
    )
    instead: str = Field(
        "",
        description="Of a port: why it listens on loopback addresses, although its owner asked for another; empty if not.",
    )


class ConnectionInfo(ApiModel):
    """One SSH connection."""

    id: str
    identity: str
    peer: str
    client_version: str
    since: Moment
    tunnels: list[str] = Field(description="Addresses of its tunnels.")
    up: int = Field(description="Bytes from visitors to its tunnels.")
    down: int = Field(description="Bytes from its tunnels to visitors.")
    silent_seconds: float = Field(
        0.0,
        description="Seconds since the client's last sign of life, once it leaves a keepalive unanswered; 0 before.",
    )


class NameInfo(ApiModel):
    """One reservation."""

    key: str = Field(description="`http:blog.example.com`: what DELETE /api/v1/names/… takes.")
    address: str
    kind: Literal["http", "tls", "tcp", "alias", "socket"]
    owner: str = Field(description="The owning identity's id.")
    owner_name: str
    derived: bool = Field(description="Given by the gateway, not asked for.")
    created: Moment
    last_used: Moment | None = Field(description="None: the operator has given it, and it was never up.")
    label: str | None = Field(
        None, description="The purpose of a port that is kept for good; empty without one. None: it is kept by use."
    )
    used: bool = Field(True, description="It was up for a minute or had a visitor. If not, it is kept for an hour.")
    live: bool = Field(description="A tunnel serves it now.")


class PortInfo(ApiModel):
    """One row of the port table: a TCP port and its holder."""

    port: int
    label: str | None = Field(description="The purpose of the port (`tcp.purposes`).")
    host: str | None = Field(
        description="What the holder's machine has called itself last (SELF_REMOTE_HOST), else the name of the key."
    )
    holder: str
    comment: str = Field(
        "", description="The comment behind the holder's key in a key file, if it has no name. It proves nothing."
    )
    state: Literal["up", "down", "never seen", "disabled", "refused", "no forwards", "no rule"] = Field(
        description="The last four: why the line that names it, or the policy, lets its key not have it."
    )
    bound: list[str] = Field(default_factory=list, description="The addresses that it listens on, while it is up.")
    since: Moment | None = Field(
        description="Up or down since; of a port that was never seen, when it was given, if that is known."
    )
    kept_until: Moment | None = Field(description="None: it is up, or kept for good.")
    kept_for_good: bool
    lines: list[str] = Field(description="The lines of key files that name it: `/etc/ferry/keys/machines, line 3`.")


class HeldAddress(ApiModel):
    """A name or a port of an identity."""

    address: str
    label: str | None = Field(description="The purpose of a port that is kept for good; None: it is kept by use.")
    port: int | None = Field(description="Of a port or an alias.")


class KeyInfo(ApiModel):
    """A key that the gateway knows."""

    fingerprint: str
    name: str | None = Field(description="The name of its identity.")
    entered: bool = Field(description="The operator has entered it for that name, which its line need not say.")
    host: str | None = Field(description="What a session of it has called its machine last (SELF_REMOTE_HOST).")
    last_seen: Moment | None = Field(description="None: it was entered, and has never logged in.")
    held: list[HeldAddress] = Field(description="Names and ports of its identity.")


class EnrolRequest(ApiModel):
    """A key to enter, with the ports to allocate for it."""

    name: str
    fingerprint: str
    algorithm: str
    listen: list[str] = Field(
        description="Labels: a purpose (`ssh`), or one of several ports of it (`service:grafana`)."
    )
    unnamed: bool = Field(
        default=False, description="The line of the key will not say the name, which the gateway keeps for it."
    )


class GivenPort(ApiModel):
    """An allocated port."""

    label: str
    port: int
    loopback: bool = Field(description="It listens on the gateway's own machine alone.")


class EnrolledInfo(ApiModel):
    """What a key was given."""

    ports: list[GivenPort]
    gateway: str = Field(description="The host to connect to.")
    ssh_port: int


class RulesQuestion(ApiModel):
    """A key to compare with the operator's policy."""

    key: str = Field(description="Its fingerprint.")
    name: str | None = Field(None, description="The name of its identity; None: that by which it is known.")
    ports: list[int] = Field(default_factory=list, description="The ports that its machine publishes.")


class RuleInfo(ApiModel):
    """A rule of the policy file."""

    name: str
    file: str
    line: int
    who: str = Field(description="Whom it is for.")
    only_from: str | None = Field(description="From where alone (`from`); None: from anywhere.")
    until: Moment | None


class AllowedTarget(ApiModel):
    """A port that rules let somebody publish or reach."""

    act: Literal["publish", "reach"]
    target: str = Field(description="`port 21000`; a machine by its name is `the alias web-1:22`.")
    port: int
    rules: list[RuleInfo]


class MissingRule(ApiModel):
    """Something that a key is for, and that no rule allows."""

    why: str
    write: str = Field(description="A `[[rule]]` for the policy file that would allow it.")
    instead: str = Field(description="Another way: a rule that allows it to others. Empty if there is none.")


class KeyRules(ApiModel):
    """How a key stands with the operator's policy."""

    who: str = Field(description="The name of its identity, else its fingerprint.")
    file: str
    error: str = Field(
        description="Why the file as it is now is not in force: then the answer is by an earlier policy."
    )
    in_force: bool = Field(description="False: there is no policy in force, and the rest is empty.")
    rules: list[RuleInfo] = Field(description="The rules that are for its identity, whatever they allow.")
    allowed: list[AllowedTarget]
    missing: list[MissingRule]


class ReplaceRequest(ApiModel):
    """A key that takes the place of another."""

    old: str = Field(description="The fingerprint of the old key.")
    name: str | None = Field(description="The name in its line.")
    new: str = Field(description="The fingerprint of the new key.")
    algorithm: str


class ReplacedInfo(ApiModel):
    """What the new key has."""

    name: str | None
    held: list[HeldAddress]
    named_in: list[str] = Field(
        default_factory=list, description="Where the policy file names the old key, and so is not for the new one."
    )


class ForgetRequest(ApiModel):
    """Keys to forget."""

    keys: list[str] = Field(description="Fingerprints.")
    name: str | None = Field(description="The name of their identity, if none of its other keys stays.")
    keep: bool = Field(description="Keep its names and ports.")


class ForgottenInfo(ApiModel):
    """What they had."""

    held: list[HeldAddress] = Field(description="Given back, or kept if that was asked for.")
    others: bool = Field(description="The identity has other keys, and keeps all.")


class BlockedAddress(ApiModel):
    """An address from which too many logins have failed."""

    address: str = Field(description="An IPv4 address, or an IPv6 /64.")
    seconds: float = Field(description="How much longer it stays blocked.")
    why: str = Field(description="The last thing that it did.")


class RefusedKeyInfo(ApiModel):
    """A key that was offered and not let in. Its client has not proved that it holds it."""

    fingerprint: str
    line: str = Field(description="The key, as a line of an authorized_keys file.")
    host: str = Field(description="The address that offered it last.")
    user: str = Field(description="The last login name with it.")
    users: list[str] = Field(description="The last login names with it. Whoever knows the key can add one.")
    at: Moment
    shut: list[str] = Field(
        default=[], description="The lines of the key files that have it and let nobody in, each with what to do."
    )


class RefusedKeyList(ApiModel):
    """The keys that were not let in, and where keys that are let in stand."""

    keys: list[RefusedKeyInfo] = Field(description="The one that was offered last comes last.")
    files: list[str] = Field(description="`access.keys`: files, and folders of files. Empty if anybody may connect.")


class GatewayInfo(ApiModel):
    """The gateway, as people reach it over SSH."""

    hostname: str
    port: int


class MachineInfo(ApiModel):
    """A machine that people may reach through the gateway: a block of ssh_config(5)."""

    host: str = Field(description="What to type after `ssh`, and the name of its host key (`HostKeyAlias`).")
    hostname: str = Field(description="What the gateway is asked for: an alias, or `localhost` for one of its ports.")
    port: int
    key: str = Field(description="The address, as in `names`.")
    up: bool = Field(description="A tunnel serves it now.")


class MachineList(ApiModel):
    """The machines that hold a port for ssh or an alias with port 22, and the way to them."""

    gateway: GatewayInfo
    machines: list[MachineInfo]


class Closed(ApiModel):
    """What a DELETE has closed, freed or unblocked."""

    what: Literal["tunnel", "connection", "name", "address"]
    id: str
    address: str = Field(description="Of a tunnel or name; the peer's of a connection.")
    identity: str
    live: bool = Field(False, description="Of a name: a tunnel serves it, and keeps it until it closes.")
    lines: list[str] = Field(
        default_factory=list, description="Of a port: the lines of key files that keep it still (`permitlisten=`)."
    )


class Health(ApiModel):
    """`/health`: 200, or 503 while draining."""

    status: Literal["ok", "degraded", "draining"]
    store: Literal["ok", "failed"]
    policy: Literal["none", "ok", "rejected"] = Field(
        "none", description="`rejected`: the policy file has a mistake, and the earlier policy is in force."
    )
    audit: Literal["ok", "failed"]
    config: Literal["ok", "rejected"] = Field(
        "ok", description="`rejected`: the last reload was refused, and the earlier configuration is in force."
    )
    access: Literal["ok", "failed"] = Field(
        "ok", description="`failed`: a file of keys, CAs, principals or revoked keys cannot be read."
    )
    tunnels: int
