from __future__ import annotations

from ferry.setup.dns import Host, check_domain, is_local, own_addresses, records, resolve
from ferry.setup.findings import Severity, worst

OWN = ["8.8.8.8", "2606:4700::1"]


def host(table: dict[str, list[str]], own: list[str] = OWN) -> Host:
    return Host(own, lambda address: address in own, lambda name: table.get(name, []))


def test_both_names_lead_here() -> None:
    found = check_domain("gw.example", "x", host({"gw.example": OWN, "x.gw.example": ["8.8.8.8"]}), port=80)
    assert [finding.severity for finding in found] == [Severity.OK, Severity.OK]
    assert found[1].text == "*.gw.example is this host (8.8.8.8)"


def test_a_missing_wildcard_is_said_with_the_records_to_make() -> None:
    found = check_domain("gw.example", "x", host({"gw.example": ["8.8.8.8"]}), port=80)
    assert worst(found) is Severity.FIX
    assert found[1].text == (
        "*.gw.example does not resolve: make\n*.gw.example. A 8.8.8.8\n*.gw.example. AAAA 2606:4700::1"
    )


def test_a_gateway_without_web_addresses_needs_no_wildcard() -> None:
    (found,) = check_domain("gw.example", "x", host({"gw.example": OWN}), port=None, web=False)
    assert found.severity is Severity.OK
    assert check_domain("localhost", "x", host({}), port=None, web=False) == []


def test_an_address_of_another_host() -> None:
    table = {"gw.example": ["8.8.8.8", "1.1.1.1"], "x.gw.example": ["8.8.8.8"]}
    found = check_domain("gw.example", "x", host(table), port=80)
    assert found[0].severity is Severity.FIX
    assert found[0].text.startswith("gw.example is 1.1.1.1, and this host is 8.8.8.8, 2606:4700::1: make\n")


def test_one_address_of_another_host_alone() -> None:
    found = check_domain("gw.example", "x", host({"gw.example": ["1.1.1.1"], "x.gw.example": ["8.8.8.8"]}), port=80)
    assert [finding.severity for finding in found] == [Severity.FIX, Severity.OK]


def test_behind_nat_a_private_address_beside_a_foreign_one_needs_a_fix() -> None:
    table = {"gw.example": ["10.0.0.5", "8.8.8.8"], "x.gw.example": ["10.0.0.5"]}
    found = check_domain("gw.example", "x", host(table, own=["10.0.0.5"]), port=80)
    assert [finding.severity for finding in found] == [Severity.FIX, Severity.OK]


def test_a_host_without_a_network_gets_the_records_to_make() -> None:
    found = check_domain("gw.example", "x", host({"gw.example": ["8.8.8.8"]}, own=[]), port=80)
    assert [finding.severity for finding in found] == [Severity.FIX, Severity.FIX]
    assert "this host is without a network address" in found[0].text
    assert found[1].text.endswith("make\n*.gw.example. A THE-PUBLIC-ADDRESS-OF-THIS-HOST")


def test_behind_nat_a_foreign_address_may_be_right() -> None:
    private = host({"gw.example": ["8.8.8.8"], "x.gw.example": []}, own=["10.0.0.5"])
    found = check_domain("gw.example", "x", private, port=80)
    assert found[0].severity is Severity.NOTE
    assert "right if that address is mapped to this host" in found[0].text
    assert "10.0.0.5" not in records("gw.example", private)


def test_localhost_names_that_do_not_resolve_get_a_curl_line() -> None:
    (finding,) = check_domain("localhost", "x", host({}), port=8080)
    assert finding.severity is Severity.NOTE
    assert "curl --resolve NAME.localhost:8080:127.0.0.1 http://NAME.localhost:8080/" in finding.text
    (finding,) = check_domain("localhost", "x", host({"x.localhost": ["127.0.0.1"]}), port=8080)
    assert finding.severity is Severity.OK
    (finding,) = check_domain("dev.localhost", "x", host({}), port=None)
    assert finding.severity is Severity.NOTE
    assert finding.text.endswith("other programs need an entry in /etc/hosts")


def test_the_addresses_of_this_host() -> None:
    assert is_local("127.0.0.1")
    assert not is_local("192.0.2.1")
    assert all(is_local(address) for address in own_addresses())
    assert resolve("127.0.0.1") == ["127.0.0.1"]
    assert resolve("a" * 64 + ".x") == [], "a label that no resolver takes"
