"""Slots for log-ins, and their loss when all are taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ferry.limiters.handshakes import Handshake, HandshakeGate, Progress
from ferry.limiters.sources import ExemptNetworks
from ferry.limits import HANDSHAKE_PATIENCE_SECONDS
from weight import weight

HOSTS = ["203.0.113.1", "203.0.113.200", "198.51.100.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "127.0.0.1", "::1"]
SILENT = HANDSHAKE_PATIENCE_SECONDS[Progress.SILENT]


def admitted(gate: HandshakeGate, host: str, now: float = 0.0) -> Handshake:
    handshake, _ = gate.admit(host, now)
    assert handshake is not None
    return handshake


def test_one_network_has_fewer_places_than_all_together() -> None:
    gate = HandshakeGate(total=5, per_network=2)
    assert [gate.admit(f"203.0.113.{n}", 0.0)[0] is not None for n in range(3)] == [True, True, False]
    assert [gate.admit(f"2001:db8::{n}", 0.0)[0] is not None for n in range(3)] == [True, True, False]


def test_an_ipv4_address_inside_ipv6_counts_as_ipv4() -> None:
    gate = HandshakeGate(total=10, per_network=1)
    admitted(gate, "203.0.113.7")
    assert gate.admit("::ffff:203.0.113.8", 0.0) == (None, None)


def test_loopback_has_no_bound_of_its_own_unless_no_network_is_exempt() -> None:
    proxied = HandshakeGate(total=4, per_network=1)
    for host in ("127.0.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.1"):
        admitted(proxied, host)
    assert proxied.admit("127.0.0.1", 0.0) == (None, None)
    ordinary = HandshakeGate(total=4, per_network=1, exempt=ExemptNetworks([]))
    admitted(ordinary, "127.0.0.1")
    assert ordinary.admit("127.0.0.2", 0.0) == (None, None)


def test_a_newcomer_displaces_a_log_in_of_a_crowded_network_at_once() -> None:
    gate = HandshakeGate(total=200, per_network=30)
    lone = admitted(gate, "192.0.2.1")
    flood = [admitted(gate, f"198.18.{n % 40}.1") for n in range(199)]
    crowd = gate.admit("198.18.0.1", 0.0)
    assert crowd == (None, None)  # its own network is as crowded as any, and nobody is silent for long
    for n in range(100):
        handshake, gone = gate.admit(f"203.0.{n}.1", 0.0)
        assert handshake is not None
        assert gone in flood
        assert gone is not lone


def test_a_handshake_with_progress_stays_while_others_are_silent() -> None:
    gate = HandshakeGate(total=4, per_network=4)
    typing = [admitted(gate, "203.0.113.1") for _ in range(2)]
    for handshake in typing:
        gate.progressed(handshake, Progress.PROMISING, 0.0)
    exchanged = admitted(gate, "203.0.113.2")
    gate.progressed(exchanged, Progress.EXCHANGED, 0.0)
    silent = admitted(gate, "198.51.100.1", 1.0)
    assert gate.admit("192.0.2.1", 1.0 + SILENT)[1] is silent
    assert gate.admit("192.0.3.1", 1.0 + SILENT)[1] is typing[0]  # no patience is over, but this network holds two
    assert gate.admit("192.0.4.1", 1.0 + 2 * SILENT)[1] is not typing[1]


def test_a_storm_of_honest_clients_does_not_end_itself() -> None:
    gate = HandshakeGate(total=3, per_network=3)
    first = [admitted(gate, f"198.51.{n}.1") for n in range(3)]
    assert gate.admit("192.0.2.1", SILENT - 0.01) == (None, None)
    handshake, gone = gate.admit("192.0.2.1", SILENT)
    assert handshake is not None
    assert gone is first[0]


def test_a_handshake_is_done_once() -> None:
    gate = HandshakeGate(total=2, per_network=2)
    one = admitted(gate, "192.0.2.1")
    gate.done(one)
    gate.done(one)
    gate.progressed(one, Progress.PROMISING, 1.0)
    assert len(gate) == 0


def test_networks_that_are_gone_leave_nothing() -> None:
    exempt = ExemptNetworks([])
    gate = HandshakeGate(total=50, per_network=3, exempt=exempt)

    def come_and_go(first: int, networks: int) -> int:
        for n in range(first, first + networks):
            there = [admitted(gate, f"198.{n // 250}.{n % 250}.{m}", float(n)) for m in range(3)]
            gate.progressed(there[0], Progress.EXCHANGED, float(n))
            gate.progressed(there[0], Progress.PROMISING, float(n))
            gate.progressed(there[1], Progress.EXCHANGED, float(n))
            for one in there:
                gate.done(one)
        return weight(gate, exempt)

    few = come_and_go(0, 50)
    assert come_and_go(50, 5000) <= few
    assert len(gate) == 0


def test_a_displaced_log_in_frees_its_slot_and_its_networks_share() -> None:
    gate = HandshakeGate(total=2, per_network=2)
    first, second = admitted(gate, "203.0.113.1"), admitted(gate, "203.0.113.2")
    assert len(gate) == 2
    handshake, gone = gate.admit("192.0.2.1", SILENT)
    assert (handshake is not None, gone, len(gate)) == (True, first, 2)
    gate.done(first)  # its socket closes later
    assert len(gate) == 2
    gate.done(second)
    assert [gate.admit("203.0.113.3", SILENT)[0] is not None, len(gate)] == [True, 2]


def test_going_back_is_no_progress_and_progress_begins_patience_anew() -> None:
    gate = HandshakeGate(total=1, per_network=1)
    one = admitted(gate, "203.0.113.1")
    gate.progressed(one, Progress.EXCHANGED, 1.0)
    for again in (Progress.SILENT, Progress.EXCHANGED):
        gate.progressed(one, again, 3.0)
    patience = HANDSHAKE_PATIENCE_SECONDS[Progress.EXCHANGED]
    assert gate.admit("192.0.2.1", 1.0 + patience - 0.01) == (None, None)
    assert gate.admit("192.0.2.1", 1.0 + patience)[1] is one


@given(st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(["come", "go", *Progress]), st.floats(0, 3))))
def test_the_counts_are_right_in_any_order_of_events(steps: list[tuple[str, object, float]]) -> None:
    gate = HandshakeGate(total=6, per_network=2)
    inside: dict[Handshake, str] = {}
    now = 0.0
    for host, what, pause in steps:
        now += pause
        if what == "come":
            handshake, gone = gate.admit(host, now)
            if gone is not None:
                assert len(inside) == 6
                lowest = min(one.progress for one in inside)
                held = [one for one in inside if one.progress == lowest]
                assert gone.progress >= lowest
                if gone.progress == lowest:
                    counts = {one.network: sum(o.network == one.network for o in held) for one in held}
                    assert counts[gone.network] == max(counts.values())
                del inside[gone]
            if handshake is not None:
                inside[handshake] = host
        elif mine := [one for one, of in inside.items() if of == host]:
            if isinstance(what, Progress):
                gate.progressed(mine[0], what, now)
            else:
                del inside[mine[0]]
                gate.done(mine[0])
        assert len(gate) == len(inside) <= 6
        public = [one.network for one in inside if not one.network.startswith(("127.", "::/"))]
        assert all(public.count(network) <= 2 for network in public)
    for one in list(inside):
        gate.done(one)
    assert len(gate) == 0
    assert all(queue.fullest() == (0, None) for queue in gate._queues.values())
