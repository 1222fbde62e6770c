"""The operator's policy with many rules and keys: what a decision costs, and reading all of it.

Run as a program of its own: `python -m bench.judged FOLDER RULES KEYS` writes the files `policy.toml` and `keys` into the
folder, and prints what it has found as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import statistics
import sys
import time
from pathlib import Path

from ferry.config.policy_file import read_policy
from ferry.errors import Refusal
from ferry.policy.aims import Aim, parse_publish, parse_reach
from ferry.policy.rulebook import Rulebook, failures
from ferry.policy.rules import Asker
from ferry.protocol.key_paths import AccessPaths
from ferry.ssh.access_lines import read_access

PER_TAG = 20  # identities
QUESTIONS = 20_000
NOW = 1_900_000_000.0


def write(folder: Path, rules: int, keys: int) -> None:
    """A fleet: a tag for every few machines, with a rule for their ports and aliases and one for those who reach them."""
    tags = keys // PER_TAG
    lines = ["[tags]"]
    lines += [
        f"t{tag} = [{', '.join(json.dumps(f'machine-{tag * PER_TAG + n}') for n in range(PER_TAG))}]"
        for tag in range(tags)
    ]
    for rule in range(rules):
        tag, first = rule % tags, 20_000 + 40 * (rule % 1000)
        lines += ["[[rule]]", f'name = "rule-{rule}"', f'who = ["tag:t{tag}", "site{rule}-*"]', 'from = ["10.0.0.0/8"]']
        lines += [f'publish.ports = ["{first}-{first + 39}"]', 'publish.aliases = ["{name}:22"]']
        lines += [f'reach.aliases = ["machine-{rule}*:22"]', f'reach.hosts = ["10.{rule % 256}.0.0/16:5432"]']
    lines += [
        "[[test]]",
        'who = "machine-1"',
        'from = "10.1.2.3"',
        'accept = ["publish 20001"]',
        'deny = ["publish 1"]',
    ]
    (folder / "policy.toml").write_text("\n".join(lines) + "\n")
    head = (11).to_bytes(4, "big") + b"ssh-ed25519" + (32).to_bytes(4, "big")
    blobs = (head + hashlib.sha256(str(number).encode()).digest() for number in range(keys))
    (folder / "keys").write_text(
        "".join(
            f'restrict,port-forwarding,permitlisten="localhost:{20_000 + number}" ssh-ed25519 '
            f"{base64.b64encode(blob).decode()} name=machine-{number}\n"
            for number, blob in enumerate(blobs)
        )
    )


def questions(count: int, keys: int) -> list[tuple[Asker, Aim]]:
    """What machines ask for: nearly always what is theirs, sometimes what is not."""
    found = []
    for number in range(count):
        machine = number * 7919 % keys
        name = f"machine-{machine}"
        asker = Asker(name, None, False, "10.1.2.3", "10.1.2.3", NOW)
        port = 20_000 + 40 * (machine // PER_TAG % 1000) + number % 40
        aims = (
            parse_publish(f"{name}:22"),
            parse_publish(str(port)),
            parse_publish("19999"),
            parse_reach("10.7.1.1:5432")[0],
        )
        found.append((asker, aims[number % len(aims)]))
    return found


def main() -> None:
    """Measure, and print JSON."""
    folder, rules, keys = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    write(folder, rules, keys)
    began = time.perf_counter()
    book = Rulebook(read_policy(folder / "policy.toml", {}))
    assert not failures(book, NOW)
    policy_seconds = time.perf_counter() - began
    lines = read_access(AccessPaths((folder / "keys",))).lines
    reload_seconds = time.perf_counter() - began
    assert len(lines) == keys
    taken, refused = [], 0
    for asker, aim in questions(QUESTIONS, keys):
        began = time.perf_counter()
        answer = book.decide(asker, aim)
        taken.append(1e6 * (time.perf_counter() - began))
        refused += isinstance(answer, Refusal)
    assert 0 < refused < QUESTIONS
    p99 = statistics.quantiles(taken, n=100)[98]
    found = {"decision": statistics.median(taken), "p99": p99, "policy": policy_seconds, "reload": reload_seconds}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
