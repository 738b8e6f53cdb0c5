import asyncio

import pytest

from simulator.proxy import Link, Proxy


class Net:
    """An echo server behind a proxy."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.echo, "127.0.0.1", 0)
        self.proxy = Proxy("127.0.0.1", self.server.sockets[0].getsockname()[1])
        self.port = await self.proxy.start()

    async def stop(self) -> None:
        await self.proxy.stop()
        self.server.close()

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except OSError:
            pass
        self.ended.set()
        writer.close()

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def net():
    made = Net()
    await made.start()
    yield made
    await made.stop()


async def say(line, text: bytes) -> bytes:
    reader, writer = line
    writer.write(text)
    async with asyncio.timeout(5):
        return await reader.readexactly(len(text))


async def test_a_passing_network_passes_and_ends_with_fin(net):
    line = await net.connect()
    assert await say(line, b"hello") == b"hello"
    line[1].close()
    async with asyncio.timeout(5):
        await net.ended.wait()
    assert net.proxy.bytes_up == 5


async def test_a_silent_network_carries_nothing_closes_nothing_and_delivers_late(net):
    line = await net.connect()
    await say(line, b"before")
    await net.proxy.put(Link.SILENT)
    line[1].write(b"during")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await line[0].read(1)
    assert not line[1].is_closing()
    await net.proxy.put(Link.PASS)
    async with asyncio.timeout(5):
        assert await line[0].readexactly(6) == b"during"
    line[1].close()


async def test_a_connection_made_in_silence_works_when_it_is_over(net):
    await net.proxy.put(Link.SILENT)
    line = await net.connect()
    line[1].write(b"hello")
    await net.proxy.put(Link.PASS)
    async with asyncio.timeout(5):
        assert await line[0].readexactly(5) == b"hello"
    line[1].close()


@pytest.mark.parametrize("link", [Link.RESET, Link.REFUSE])
async def test_a_reset_ends_what_is_there(net, link):
    line = await net.connect()
    await say(line, b"before")
    await net.proxy.put(link)
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(5):
            await line[0].readexactly(1)
    async with asyncio.timeout(5):
        await net.ended.wait()
    await net.proxy.put(Link.PASS)
    again = await net.connect()
    assert await say(again, b"after") == b"after"
    for writer in (line[1], again[1]):
        writer.close()


async def test_a_refusing_network_has_no_listener(net):
    await net.proxy.put(Link.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        await net.connect()
