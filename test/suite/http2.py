#!/usr/bin/env python3
"""One call over cleartext HTTP/2, as a client with prior knowledge makes it. Prints `refused` if the socket does not speak it, else
the body of the answer, or `status N` where it has none. Runs inside the rig's machine.

    http2.py METHOD TARGET [BODY [NAME=VALUE...]]

The headers are sent as they are given, Content-Length among them: of several the engine takes the first and shows the last.
"""
import socket
import struct
import sys

SOCKET = "/run/docker.sock"
# The answers whose status one byte says (RFC 7541, appendix A).
STATUS = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4


def text(value):
    return field_length(len(value)) + value.encode()


def field_length(length):
    return bytes([length]) if length < 127 else bytes([127]) + varint(length - 127)


def varint(number):
    out = b""
    while number >= 128:
        out += bytes([number % 128 + 128])
        number //= 128
    return out + bytes([number])


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def block(method, target, headers):
    fields = [(":method", method), (":scheme", "http"), (":path", target), (":authority", "engine"), *headers]
    return b"".join(b"\x00" + text(name) + text(value) for name, value in fields)


def frames(stream):
    data = b""
    while True:
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            length = int.from_bytes(data[:3], "big")
            yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + length]
            data = data[9 + length:]
        more = stream.recv(65536)
        if not more:
            return
        data += more
        if data.startswith(b"HTTP/1"):
            return


def main():
    method, target, body, *headers = [*sys.argv[1:], ""] if len(sys.argv) == 3 else sys.argv[1:]
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.settimeout(60)
    stream.connect(SOCKET)
    call = block(method, target, [tuple(header.split("=", 1)) for header in headers])
    end = 0 if body else END_STREAM
    question = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS | end, 1, call)
    stream.sendall(question + (frame(0, END_STREAM, 1, body.encode()) if body else b""))
    spoken, status, answer = False, "unknown", b""
    for kind, flags, number, payload in frames(stream):
        spoken = spoken or kind == SETTINGS
        if kind == HEADERS and number == 1 and status == "unknown":
            status = STATUS.get(payload[0], "unknown")
        if kind == 0 and number == 1:
            answer += payload
        if kind == GOAWAY or (kind == RST_STREAM and number == 1):
            answer = answer or b"reset"
            break
        if number == 1 and flags & END_STREAM and kind in (0, HEADERS):
            break
    print((answer.decode(errors="replace").strip() or f"status {status}") if spoken else "refused")


if __name__ == "__main__":
    main()
