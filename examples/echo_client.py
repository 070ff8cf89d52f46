#!/usr/bin/env python3
"""Loads the echo example and checks that every byte comes back unchanged and in order.

Each client sends its messages and receives at the same time. Each message says whose it is and has other bytes
than the rest, so what is lost, doubled or sent to another client is found. Ends with status 1 if anything is wrong.

    cargo run --release --example echo -- --port 7000
    examples/echo_client.py --port 7000 --clients 500 --bytes 1024009 --messages 2
"""

import argparse
import asyncio
import random
import socket
import sys
import time

CHUNK_BYTES = 64 * 1024
# Messages are cut from the same random bytes, each at another place, so that they cost no memory.
PLACES = 65_536


class Mismatch(Exception):
    pass


class Load:
    def __init__(self, options):
        self.options = options
        self.random_bytes = memoryview(random.Random(1).randbytes(options.bytes + PLACES))
        self.echoed_bytes = 0

    def message(self, client, number):
        """The parts of a message: who sends it, and bytes that only it has in this order."""
        head = f"{client}/{number}/".encode()[: self.options.bytes]
        # An odd factor, so that neighbours get places far apart and no place comes up twice.
        place = (client * self.options.messages + number) * 40_503 % PLACES
        return head, self.random_bytes[place : place + self.options.bytes - len(head)]

    async def run_client(self, client):
        with socket.socket() as connection:
            connection.setblocking(False)
            address = (self.options.host, self.options.port)
            await asyncio.get_running_loop().sock_connect(connection, address)
            async with asyncio.TaskGroup() as both:
                both.create_task(self.send(connection, client))
                both.create_task(self.receive(connection, client))

    async def send(self, connection, client):
        loop = asyncio.get_running_loop()
        for number in range(self.options.messages):
            for part in self.message(client, number):
                for start in range(0, len(part), CHUNK_BYTES):
                    await loop.sock_sendall(connection, part[start : start + CHUNK_BYTES])
        # The server sends back what it still has, and then hangs up as well.
        connection.shutdown(socket.SHUT_WR)

    async def receive(self, connection, client):
        loop = asyncio.get_running_loop()
        for number in range(self.options.messages):
            for part in self.message(client, number):
                at = 0
                while at < len(part):
                    received = await loop.sock_recv(connection, min(CHUNK_BYTES, len(part) - at))
                    if not received:
                        raise Mismatch(f"client {client}: cut off in message {number}")
                    if received != part[at : at + len(received)]:
                        raise Mismatch(f"client {client}: message {number} changed near byte {at}")
                    at += len(received)
                    self.echoed_bytes += len(received)
        if await loop.sock_recv(connection, 1):
            raise Mismatch(f"client {client}: more came back than was sent")

    async def run(self):
        clients = range(self.options.clients)
        return await asyncio.gather(*map(self.run_client, clients), return_exceptions=True)


def number(least, most):
    def parse(text):
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"not from {least} to {most}: {text}")
        return value

    return parse


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=number(1, 65_535), required=True)
    parser.add_argument("--clients", type=number(1, 60_000), default=10, help="connected at once (10)")
    parser.add_argument("--bytes", type=number(1, 1 << 30), default=1_024, help="per message (1024)")
    parser.add_argument("--messages", type=number(1, 1 << 30), default=10, help="per client (10)")
    return parser.parse_args()


def failures(error):
    """The reasons inside a task group's error."""
    return error.exceptions if isinstance(error, BaseExceptionGroup) else [error]


def main():
    options = parse_options()
    load = Load(options)
    started = time.monotonic()
    outcomes = asyncio.run(load.run())
    seconds = time.monotonic() - started

    failed = [outcome for outcome in outcomes if outcome is not None]
    for outcome in failed[:10]:
        for reason in failures(outcome):
            print(f"error: {reason!r}", file=sys.stderr)
    megabytes = load.echoed_bytes / 1e6
    print(
        f"{options.clients - len(failed)} of {options.clients} clients: "
        f"{megabytes:.1f} MB came back unchanged in {seconds:.1f} s, {megabytes / seconds:.1f} MB/s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
