"""An RTMP server's side of a connection, as far as a player needs it: it says yes to all, and sends what an FLV holds.

The protocol: Adobe's RTMP Specification 1.0; the numbers in the names below are its sections.
"""

from __future__ import annotations

import io
import socketserver
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

_SET_CHUNK_SIZE, _COMMAND = 1, 20
_CHUNK = 1 << 16
_HEADER_SIZES = (11, 7, 3, 0)


@dataclass
class _Message:
    kind: int = 0
    size: int = 0
    body: bytes = b""


class RtmpHandler(socketserver.StreamRequestHandler):
    """Answers a player that asks for any stream with the FLV that `write` writes."""

    def write(self, to: io.RawIOBase) -> None:
        raise NotImplementedError

    def handle(self) -> None:
        self._shake_hands()
        self._send(_SET_CHUNK_SIZE, struct.pack(">I", _CHUNK))
        for message in self._messages():
            if message.kind != _COMMAND:
                continue
            name, number = _command(message.body)
            if name == "connect":
                self._answer("_result", number, {}, {"code": "NetConnection.Connect.Success"})
            elif name == "createStream":
                self._answer("_result", number, None, 1.0)
            elif name == "play":
                self._answer("onStatus", 0.0, None, {"level": "status", "code": "NetStream.Play.Start"})
                self.write(_Tags(self._send))
                return

    def _shake_hands(self) -> None:
        """5.2"""
        hello = self.rfile.read(1 + 1536)[1:]
        self.wfile.write(b"\3" + bytes(1536) + hello)
        self.rfile.read(1536)

    def _messages(self) -> Iterator[_Message]:
        """5.3, as far as a player writes: no extended times."""
        chunk, streams = 128, {}  # type: int, dict[int, _Message]
        while first := self.rfile.read(1):
            stream = streams.setdefault(first[0] & 63, _Message())
            header = self.rfile.read(_HEADER_SIZES[first[0] >> 6])
            if len(header) >= 7:
                stream.size, stream.kind = int.from_bytes(header[3:6], "big"), header[6]
            stream.body += self.rfile.read(min(chunk, stream.size - len(stream.body)))
            if len(stream.body) < stream.size:
                continue
            if stream.kind == _SET_CHUNK_SIZE:
                chunk = int.from_bytes(stream.body, "big")
            yield stream
            stream.body = b""

    def _answer(self, *values: Any) -> None:
        self._send(_COMMAND, b"".join(map(_amf, values)))

    def _send(self, kind: int, body: bytes, time: int = 0) -> None:
        """A message of the stream 1, in chunks of the number 3."""
        head = struct.pack(">B3s3sB", 3, min(time, 0xFFFFFF).to_bytes(3, "big"), len(body).to_bytes(3, "big"), kind)
        extended = struct.pack(">I", time) if time >= 0xFFFFFF else b""
        pieces = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)]
        self.wfile.write(head + struct.pack("<I", 1) + extended + (b"\xc3" + extended).join(pieces))


class _Tags(io.RawIOBase):
    """A file that an FLV is written to; each of its tags becomes a message."""

    def __init__(self, send: Callable[[int, bytes, int], None]) -> None:
        self._send = send
        self._bytes = b""
        self._head = 9 + 4

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._bytes += bytes(data)
        if self._head and len(self._bytes) >= self._head:
            self._bytes, self._head = self._bytes[self._head :], 0
        while not self._head and len(self._bytes) >= 11:
            size = int.from_bytes(self._bytes[1:4], "big")
            if len(self._bytes) < 11 + size + 4:
                break
            time = int.from_bytes(self._bytes[4:7], "big") | self._bytes[7] << 24
            self._send(self._bytes[0], self._bytes[11 : 11 + size], time)
            self._bytes = self._bytes[11 + size + 4 :]
        return len(data)


def _command(body: bytes) -> tuple[str, float]:
    """A command's name and its transaction's number."""
    file: BinaryIO = io.BytesIO(body)
    _, size = struct.unpack(">BH", file.read(3))
    name = file.read(size).decode()
    _, number = struct.unpack(">Bd", file.read(9))
    return name, number


def _amf(value: Any) -> bytes:
    """The Action Message Format 0 of a value."""
    if value is None:
        return b"\5"
    if isinstance(value, float):
        return struct.pack(">Bd", 0, value)
    if isinstance(value, str):
        return b"\2" + _text(value)
    return b"\3" + b"".join(_text(key) + _amf(item) for key, item in value.items()) + b"\0\0\x09"


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()
