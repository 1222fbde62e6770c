"""Which tests speak for a module: those of its own folder, and the ones named here, quick ones first."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

OTHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "ssh/login.py",
        (
            "ssh/test_access_when_judged.py",
            "ssh/test_proven_key.py",
            "e2e/test_identity.py",
            "e2e/test_public_gateway.py",
            "e2e/test_flood.py",
        ),
    ),
    ("ssh/access.py", ("e2e/test_identity.py", "e2e/test_reload.py")),
    ("ssh/admission.py", ("limiters/test_handshakes.py", "limiters/test_penalties.py", "e2e/test_flood.py")),
    ("ssh/wire/session_channel.py", ("ssh/test_session_bounds.py", "ssh/test_session_requests.py")),
    (
        "ssh/direct.py",
        (
            "ssh/test_alias_channels.py",
            "ssh/test_own_ports.py",
            "ssh/test_direct_visits.py",
            "e2e/test_aliases_with_ssh.py",
            "e2e/test_reaching_ports.py",
        ),
    ),
    ("ssh/host_visits.py", ("ssh/test_host_visits.py",)),
    ("ssh/outbound.py", ("ssh/test_host_visits.py",)),
    ("edge/host*.py", ("edge/test_hosts.py", "ssh/test_host_visits.py")),
    ("ssh/splice.py", ("ssh/test_alias_channels.py", "ssh/test_direct_visits.py")),
    (
        "ssh/tunnel.py",
        ("edge/test_leavers.py", "edge/http/test_slow_and_many.py", "e2e/test_first_second.py", "e2e/test_drain.py"),
    ),
    ("ssh/wire/*.py", ("ssh/test_*.py",)),
    ("ssh/wire/channel.py", ("edge/test_leavers.py", "e2e/test_memory_bounds.py")),
    ("ssh/holding.py", ("e2e/test_shared_connection.py", "e2e/test_sessions_with_ssh.py")),
    ("ssh/session.py", ("e2e/test_sessions_with_ssh.py", "e2e/test_commands.py")),
    ("ssh/commands.py", ("e2e/test_sessions_with_ssh.py", "e2e/test_commands.py")),
    (
        "ssh/display/*.py",
        ("ssh/test_sessions_in_terminals.py", "ssh/test_sessions_shown.py", "ssh/test_session_bounds.py"),
    ),
    ("cli/allow.py", ("e2e/test_keys_let_in_later.py",)),
    ("cli/forget_host_key.py", ("cli/test_backup.py",)),
    ("cli/man.py", ("cli/test_program.py",)),
    ("cli/options.py", ("cli/test_json_everywhere.py",)),
    ("cli/policy.py", ("e2e/test_policy_with_ssh.py",)),
    (
        "ssh/wire/connection.py",
        (
            "ssh/test_login_requests.py",
            "ssh/test_key_exchanges.py",
            "ssh/test_silence_after_a_port.py",
            "ssh/test_opens.py",
            "ssh/test_caps.py",
            "ssh/test_alive.py",
            "ssh/test_stuck_ends.py",
            "ssh/test_messages.py",
            "e2e/test_rekey_both_ways.py",
            "e2e/test_unread_answers.py",
        ),
    ),
    ("ssh/wire/algorithms.py", ("ssh/test_cipher_choice.py", "ssh/test_strict_kex.py")),
    ("ssh/wire/gcm.py", ("ssh/wire/test_lean_path.py", "ssh/test_cipher_choice.py")),
    ("ssh/wire/endings.py", ("ssh/test_stuck_ends.py", "ssh/test_one_client_fails.py")),
    ("ssh/wire/requests.py", ("ssh/test_odd_input.py", "ssh/test_wrong_packets.py")),
    (
        "ssh/wire/packets.py",
        (
            "ssh/wire/test_windows.py",
            "ssh/wire/test_lean_path.py",
            "ssh/test_keys_are_due.py",
            "ssh/test_work_per_turn.py",
            "ssh/test_wrong_packets.py",
            "ssh/test_guessed_keys.py",
            "ssh/test_stuck_ends.py",
            "e2e/test_rekey_both_ways.py",
            "e2e/test_unread_answers.py",
        ),
    ),
    (
        "ssh/tunnels.py",
        ("ssh/test_forwards.py", "e2e/test_tcp_ports.py", "e2e/test_web_names.py", "e2e/test_takeover.py"),
    ),
    (
        "ssh/claims.py",
        (
            "ssh/test_forwards_on_a_full_disk.py",
            "ssh/test_forwards_on_trial.py",
            "e2e/test_full_disk_and_stalled_log.py",
        ),
    ),
    ("ssh/client.py", ("ssh/test_sessions_shown.py", "e2e/test_drain.py", "e2e/test_takeover.py")),
    ("ssh/server.py", ("ssh/test_one_client_fails.py", "e2e/test_drain.py")),
    ("ssh/forward_requests.py", ("ssh/test_holding.py", "ssh/test_forwards.py", "e2e/test_sessions_with_ssh.py")),
    ("limiters/places.py", ("edge/http/test_crowded_tunnel.py", "edge/http/test_slow_and_many.py", "edge/test_tcp.py")),
    (
        "policy/visits.py",
        ("ssh/test_grants.py", "ssh/test_tunnel.py", "ssh/test_alias_channels.py", "e2e/test_aliases_with_ssh.py"),
    ),
    ("policy/grants.py", ("ssh/test_grants.py", "ssh/test_alias_channels.py", "e2e/test_aliases_with_ssh.py")),
    ("limiters/handshakes.py", ("ssh/test_admission.py", "e2e/test_flood.py")),
    ("limiters/penalties.py", ("ssh/test_admission.py", "e2e/test_flood.py")),
    (
        "limiters/connection_limiter.py",
        ("edge/test_tcp.py", "edge/http/test_crowded_tunnel.py", "edge/http/test_visitor_newcomers.py"),
    ),
    ("limiters/flapping.py", ("limiters/test_gates.py", "ssh/test_busy_losers.py", "e2e/test_takeover.py")),
    ("limiters/sources.py", ("limiters/test_handshakes.py", "limiters/test_penalties.py", "limiters/test_places.py")),
    ("policy/loops.py", ("edge/http/test_circles.py",)),
    ("limiters/budgets.py", ("observe/*.py", "ssh/test_session_bounds.py")),
    ("limiters/shortage.py", ("edge/http/test_crowded_tunnel.py", "edge/http/test_slow_and_many.py")),
    ("policy/forwards.py", ("ssh/test_grants.py", "ssh/test_forwards.py", "kinds/test_forward_requests.py")),
    ("protocol/forward_spec.py", ("kinds/test_forward_requests.py",)),
    (
        "kinds/*.py",
        (
            "policy/test_decisions.py",
            "ssh/test_notices.py",
            "ssh/test_commands_and_names.py",
            "registry/test_routes.py",
        ),
    ),
    ("registry/visits_in_force.py", ("ssh/test_grants.py",)),
    ("edge/http/backend.py", ("ssh/test_grants.py",)),
    ("edge/tcp.py", ("ssh/test_grants.py",)),
    ("policy/*.py", ("ssh/test_admission.py", "ssh/test_forwards.py")),
    ("limiters/*.py", ("ssh/test_admission.py", "ssh/test_forwards.py")),
    ("edge/http/h1.py", ("edge/http/test_visitor.py", "edge/http/test_secure.py")),
    ("edge/http/exchange.py", ("edge/http/test_secure.py", "edge/http/test_slow_and_many.py")),
    ("edge/http/tunnel_tls.py", ("edge/http/test_renegotiation.py", "edge/http/test_secure.py")),
    ("edge/http/connection.py", ("edge/http/test_ends_of_visitors.py", "edge/test_leavers.py")),
    ("edge/http/*.py", ("edge/test_leavers.py", "edge/test_bridge.py")),
    ("edge/acceptor.py", ("edge/test_listeners.py",)),
    ("edge/descriptors.py", ("edge/test_descriptor_gate.py",)),
    ("edge/tls/ca_files.py", ("edge/tls/test_local_ca.py",)),
    ("edge/tls/ca_trust.py", ("edge/tls/test_local_ca.py", "cli/test_ca.py")),
    ("edge/tls/context.py", ("edge/tls/test_certificates.py", "edge/test_shared_port.py")),
    ("edge/tls/certificate_folder.py", ("edge/tls/test_certificates.py",)),
    ("edge/tls/*.py", ("edge/test_shared_port.py", "edge/test_times_of_ports.py", "cli/test_ca.py")),
    ("observe/observer.py", ("observe/test_log_budgets.py",)),
    ("observe/sums.py", ("observe/test_log_budgets.py", "observe/test_observe_bounds.py")),
    ("observe/budgeted.py", ("observe/test_log_budgets.py", "observe/test_observe_bounds.py")),
    ("observe/tracebacks.py", ("observe/test_log_budgets.py",)),
    ("observe/texts.py", ("observe/test_observe_bounds.py",)),
    ("observe/events.py", ("observe/test_event_ring.py", "observe/test_observe_bounds.py")),
    ("setup/answers.py", ("cli/test_init.py",)),
    ("setup/hostcheck.py", ("cli/test_check_config.py",)),
    ("edge/*.py", ("e2e/test_tcp_ports.py", "e2e/test_descriptors.py")),
    ("registry/*.py", ("store/test_engine.py", "ssh/test_forwards.py", "policy/*.py", "limiters/test_gates.py")),
    ("store/registry*.py", ("registry/*.py",)),
    (
        "store/engine.py",
        ("registry/test_durable.py", "registry/test_contract.py", "e2e/test_full_disk_and_stalled_log.py"),
    ),
    ("protocol/http1/*.py", ("edge/http/test_refusals.py", "edge/http/test_vectors_at_edge.py")),
    ("relay.py", ("edge/test_bridge.py", "ssh/test_alias_channels.py", "ssh/test_direct_visits.py")),
    ("gateway/serve.py", ("e2e/test_start_memory.py", "e2e/test_drain.py")),
    ("gateway/worker.py", ("gateway/test_operator_view.py", "gateway/test_reloading.py")),
    ("gateway/*.py", ("e2e/test_drain.py",)),
    ("config/model.py", ("config/test_file.py", "gateway/test_wiring.py")),
    ("config/words.py", ("config/test_file.py", "setup/test_configtext.py")),
    ("config/*.py", ("test_as_shipped.py", "cli/test_check_config.py")),
)


def tests_of(root: Path, path: str) -> list[str]:
    """Files of tests for src/ferry/`path`, from the root of the clone: its own first, then those of its folder."""
    folder = Path(path).parent
    patterns = [f"{folder}/test_{Path(path).stem}*.py"]
    patterns += [other for pattern, others in OTHERS if pattern == path for other in others]
    patterns.append(f"{folder}/test_*.py")
    patterns += [other for pattern, others in OTHERS if fnmatch(path, pattern) for other in others]
    found = (str(file.relative_to(root)) for pattern in patterns for file in sorted((root / "tests").glob(pattern)))
    return list(dict.fromkeys(file for file in found if Path(file).name.startswith("test_")))


def is_own(path: str, test: str) -> bool:
    """The test is named after the module, or the table above names its file for this module alone."""
    if f"/test_{Path(path).stem}" in test:
        return True
    return any(fnmatch(test, f"tests/{other}::*") for pattern, others in OTHERS if pattern == path for other in others)


def tests_of_bound(root: Path, name: str) -> list[str]:
    """Files for a bound of limits.py: where it is named, then those that speak for the modules that name it."""
    files = sorted((root / "tests").rglob("test_*.py"))
    found = dict.fromkeys(str(file.relative_to(root)) for file in files if name in file.read_text())
    users = [file for file in sorted((root / "src/ferry").rglob("*.py")) if f"limits.{name}" in file.read_text()]
    for user in users:
        path = str(user.relative_to(root / "src/ferry"))
        found |= dict.fromkeys(file for file in tests_of(root, path) if is_own(path, f"{file}::"))
    return list(found)
