"""Fixtures of several packages: gateways in processes of their own, keys, local services."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from gateway_process import Gateway, PortBlock, gateway_in
from line_service import LineService
from origin_server import Origin
from ssh_command import StockSsh, make_key

if TYPE_CHECKING:
    from inside_gateway import Inside

# Tests run parts of `ferry` in their own process. Settings of whoever runs them are none of theirs.
for _name in [name for name in os.environ if name.startswith("FERRY_")]:
    del os.environ[_name]

# How long an example takes, or to draw one, depends on what else runs.
hypothesis.settings.register_profile("ferry", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("ferry")


def pytest_collection_finish() -> None:
    """Leave modules and the list of tests out of all later runs of the cycle collector. They stay to the end, and each
    run, and each test that counts objects, would look at all of them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway that tests share. Each test uses its own keys and names."""
    with gateway_in(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="module")
def modules_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that the tests of one module share: they may reload it, and read all that it logs."""
    with gateway_in(tmp_path_factory.mktemp("modules_gateway")) as running:
        yield running


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts a gateway for this test alone: `start_gateway(names={"keep": "1s"})`."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(**settings: dict[str, object]) -> Gateway:
            folder = tmp_path / f"gateway{next(numbers)}"
            folder.mkdir()
            return stack.enter_context(gateway_in(folder, **settings))

        yield start


@pytest.fixture
def new_key(tmp_path: Path) -> Callable[[], Path]:
    """Makes key pairs that are new to every gateway."""
    numbers = itertools.count(1)
    return lambda: make_key(tmp_path / f"key{next(numbers)}")


@pytest.fixture
def key(new_key: Callable[[], Path]) -> Path:
    """This test's own key."""
    return new_key()


@pytest.fixture
def name() -> str:
    """A name of this test only."""
    return f"n{secrets.token_hex(5)}"


@pytest.fixture
def ssh(gateway: Gateway, tmp_path: Path, key: Path) -> StockSsh:
    """Stock ssh to the shared gateway, with this test's own key."""
    return gateway.ssh(tmp_path, key)


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A local service to publish."""
    with Origin() as running:
        yield running


@pytest.fixture
def another_origin() -> Iterator[Origin]:
    """A second local service, which answers `another`."""
    with Origin("another") as running:
        yield running


@pytest.fixture
def lines() -> Iterator[LineService]:
    """A local TCP service to publish."""
    with LineService() as running:
        yield running


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    """A gateway in the test's own process."""
    from inside_gateway import SECONDS, inside_gateway  # only for those who use it: it imports the whole gateway

    async with asyncio.timeout(SECONDS), inside_gateway() as made:
        yield made


@pytest.fixture
def free_port() -> Iterator[int]:
    """A free port for programs that need its number. No other test gets it."""
    block = PortBlock.take()
    yield block.ssh
    block.release()
