#!/usr/bin/env python3
"""A proxy that misbehaves on command: before Notary, a registry, or the engine's socket. Standard library alone.

    faults.py MODE-FILE LISTEN TARGET [CERTIFICATE KEY OTHER-CERTIFICATE CA]

LISTEN and TARGET are HOST:PORT, or paths of unix sockets; with a certificate TLS is spoken on both sides. Each connection carries
one request. MODE-FILE is read for each, and holds a word, and perhaps the part of a path that alone is meant:

    pass        as if the proxy were not there        reset     the connection is reset in place of an answer
    silent      a connection is taken, no word said   garbage   200, and a page that is not JSON
    hang        the request is read, never answered   error     500
    drip        the answer's head, then a byte each half second
    slow        the answer, a second later            busy      429
    endless     200, and bytes without an end         cut       head and half the body
    expired     (TLS) a certificate that has expired
"""
import os
import socket
import ssl
import struct
import sys
import threading
import time

MODE_FILE, LISTEN, TARGET = sys.argv[1:4]
TLS = sys.argv[4:8]
# What a real server has long closed goes too, or a long run would have no descriptors left.
HANGS = 60
PAGE = b"<html><body>Please log in to the guests' network</body></html>"


def is_path(address):
    return address.startswith("/")


def listener():
    if is_path(LISTEN):
        if os.path.exists(LISTEN):
            os.unlink(LISTEN)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(LISTEN)
    else:
        host, port = LISTEN.rsplit(":", 1)
        listening = socket.create_server((host, int(port)))
    listening.listen(1024)
    return listening


def upstream():
    if is_path(TARGET):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(TARGET)
        return connection
    host, port = TARGET.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)))
    if TLS:
        connection = ssl.create_default_context(cafile=TLS[3]).wrap_socket(connection, server_hostname=host)
    return connection


def mode(path=None):
    """The mode that holds for the path; before a path is known, the mode for all of them."""
    words = open(MODE_FILE).read().split()
    if len(words) > 1 and (path is None or words[1] not in path):
        return "pass"
    return words[0] if words else "pass"


def request(client):
    """One request, and its path. It is the connection's only one, and the server is told so."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = client.recv(65536)
        if not part:
            return None, ""
        head += part
    head, _, body = head.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += client.recv(65536)
    return b"\r\n".join(lines + [b"Connection: close", b"", b""]) + body, lines[0].decode(errors="replace").split(" ")[1]


def answer(sent):
    """The server's whole answer, in parts as they come."""
    server = upstream()
    server.sendall(sent)
    while part := server.recv(65536):
        yield part
    server.close()


def fixed(status, body, length=None):
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode() + body


def serve(client):
    try:
        if mode() == "silent":
            time.sleep(HANGS)
            return
        if TLS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS[2] if mode() == "expired" else TLS[0], TLS[1])
            client = context.wrap_socket(client, server_side=True)
        sent, path = request(client)
        if sent is None:
            return
        how = mode(path)
        if how == "hang":
            time.sleep(HANGS)
        elif how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "garbage":
            client.sendall(fixed("200 OK", PAGE))
        elif how == "error":
            client.sendall(fixed("500 Internal Server Error", b"{}"))
        elif how == "busy":
            client.sendall(fixed("429 Too Many Requests", b"{}"))
        elif how == "endless":
            client.sendall(fixed("200 OK", b"", 1 << 40))
            until = time.monotonic() + HANGS
            while time.monotonic() < until:
                client.sendall(b" " * 65536)
        elif how == "drip":
            head, _, body = b"".join(answer(sent)).partition(b"\r\n\r\n")
            client.sendall(head + b"\r\n\r\n")
            for at in range(len(body)):
                client.sendall(body[at:at + 1])
                time.sleep(0.5)
        elif how == "cut":
            # Before its head is whole nobody can tell it from a server that is not there.
            head, end, body = b"".join(answer(sent)).partition(b"\r\n\r\n")
            client.sendall(head + end + body[:len(body) // 2])
        else:
            time.sleep(1 if how == "slow" else 0)
            for part in answer(sent):
                client.sendall(part)
            if sent.startswith(b"HEAD "):
                # The gate keeps this connection, and knows by it that the engine's process is the same.
                client.recv(1)
    except (OSError, ssl.SSLError, ValueError, IndexError):
        # The gate has given up on it, as it should.
        pass
    finally:
        client.close()


def main():
    threading.stack_size(256 << 10)
    listening = listener()
    while True:
        client, _ = listening.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
