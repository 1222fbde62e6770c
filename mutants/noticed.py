"""What a test noticed before: it is not asked again while the function around the mutant stays as it is."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from .sites import Site
from .tree import ROOT


class Noticed:
    """A file of mutants, each with the test that fails for it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "noticed.json"
        self._lock = threading.Lock()
        self._rows: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def by(self, site: Site) -> str:
        """The test; empty if there is none, or its file is gone."""
        test = self._rows.get(_name(site), "")
        return test if test and (ROOT / test.split("::")[0]).exists() else ""

    def add(self, site: Site, test: str) -> None:
        with self._lock:
            self._rows[_name(site)] = test
            written = self._file.with_suffix(".part")
            written.write_text(json.dumps(self._rows))
            written.rename(self._file)


def _name(site: Site) -> str:
    return hashlib.sha256(repr((site.key, site.becomes, site.around)).encode()).hexdigest()
