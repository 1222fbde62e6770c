"""Those who come from outside: a page, a file each way, and many at once."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from gateway_process import DOMAIN, Gateway

from .services import SECONDS, Web, content, digest_of

_CHUNK = 1 << 16


class Wrong(Exception):
    """What came is not what should have come."""


def in_words(came: bytes | str) -> str:
    """What came, for people who read a table."""
    text = came if isinstance(came, str) else came.decode("utf-8", "backslashreplace")
    return f'"{" ".join(text.split())[:200]}"' if text.strip() else "nothing"


def _connection(gateway: Gateway) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", gateway.ports.http, timeout=SECONDS)


def page(gateway: Gateway, name: str) -> tuple[int, bytes]:
    """`GET /`: status and body."""
    with closing(_connection(gateway)) as connection:
        connection.request("GET", "/", headers={"Host": f"{name}.{DOMAIN}"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def both_ways(gateway: Gateway, name: str, web: Web, size: int) -> None:
    """`size` bytes down and as many up, at the same time, with their sums. Raises Wrong."""
    with ThreadPoolExecutor(2) as pool:
        for done in (pool.submit(_down, gateway, name, web, size), pool.submit(_up, gateway, name, web, size)):
            done.result()


def _down(gateway: Gateway, name: str, web: Web, size: int) -> None:
    digest, came = hashlib.sha256(), 0
    with closing(_connection(gateway)) as connection:
        connection.request("GET", f"/bulk/{size}", headers={"Host": f"{name}.{DOMAIN}"})
        answer = connection.getresponse()
        while data := answer.read(_CHUNK):
            digest.update(data)
            came += len(data)
    if digest.hexdigest() != digest_of(size, web.seed):
        raise Wrong(f"down: {came} of {size} bytes came, status {answer.status}, the sum is wrong")


def _up(gateway: Gateway, name: str, web: Web, size: int) -> None:
    with closing(_connection(gateway)) as connection:
        fields = {"Host": f"{name}.{DOMAIN}", "Content-Length": str(size)}
        connection.request("PUT", "/", content(size, web.seed), fields)
        answer = connection.getresponse()
        body = answer.read()
    if body.decode() != digest_of(size, web.seed):
        raise Wrong(f"up: status {answer.status}, the answer is {in_words(body)}")


def at_once(gateway: Gateway, name: str, number: int) -> dict[bytes, int]:
    """`number` requests that are all answered only when all are there: how many got which answer."""

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.http)
        writer.write(f"GET /together/{number} HTTP/1.1\r\nHost: {name}.{DOMAIN}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        return answer.partition(b"\r\n")[0] + b" " + answer.partition(b"\r\n\r\n")[2][:40]

    async def all_of_them() -> list[bytes]:
        async with asyncio.timeout(SECONDS * 1.5):
            return await asyncio.gather(*(one() for _ in range(number)))

    answers = asyncio.run(all_of_them())
    return {answer: answers.count(answer) for answer in set(answers)}
