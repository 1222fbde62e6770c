"""What the files of keys come to, as they are read."""

from __future__ import annotations

from pathlib import Path

from ferry.names import Fingerprint
from ferry.protocol.key_paths import AccessPaths
from ferry.ssh.access_lines import read_listed
from ferry.ssh.key_files import listing_of


def test_while_the_list_of_revoked_keys_cannot_be_read_nobody_may_log_in(tmp_path: Path) -> None:
    (keys := tmp_path / "keys").write_text("")
    revoked = tmp_path / "revoked"
    paths = AccessPaths((keys,), revoked=revoked)
    for there in (False, True):
        if there:
            revoked.write_text("")
        found = read_listed(paths, listing_of(paths))
        refusal = found.revocation_of(Fingerprint("SHA256:key"), None)
        assert (refusal and refusal.code) == (None if there else "revoked_keys_unreadable")
        assert found.problem.startswith("nobody may log in: ") is not there
