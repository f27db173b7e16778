#!/usr/bin/env python3
"""A client holds a container's lock: it asks for its files and does not read the answer. A rename of it then waits in the engine as
long as the client likes, and a look at it does not end. Runs inside the rig's machine.

    locks.py rename --good REFERENCE --evil IMAGE-ID [--unguarded]   a name that is being given starts nothing, however long it takes
    locks.py look --good REFERENCE [--unguarded]                     a container that hangs does not hold up the start of another
"""
import argparse
import socket
import sys
import threading
import time

from races import SOCKET, call, create, named, prepared, remove, say, start

# Longer than the gate holds a name by time alone.
HELD = 22


class Lock:
    """Holds a container's lock until it is left."""

    def __init__(self, container):
        self.container = container

    def __enter__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(SOCKET)
        request = f"GET /containers/{self.container}/archive?path=/ HTTP/1.1\r\nHost: x\r\n\r\n"
        self.socket.sendall(request.encode())
        prepared(b"200" in self.socket.recv(64), "the container's files are not sent")
        # The answer fills the socket's buffers, and then the engine waits.
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.socket.close()


def later(action):
    """Begins a call; the list gets its answer."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(action()), daemon=True)
    thread.start()
    time.sleep(0.5)
    return thread, answers


def rename(args):
    good, evil = create(args.good), args.container or create(args.evil)
    prepared(good and evil, "no containers")
    named(evil, "evil")
    named(good, "away")
    with Lock(evil):
        waiting, answers = later(lambda: call("POST", f"/containers/{evil}/rename?name=web"))
        prepared(not answers, f"the rename does not wait: {answers}")
        # The name is free as yet, and goes back to the container that may start.
        named(good, "web")
        time.sleep(0 if args.unguarded else HELD)
        by_name = say(*start("web"))
        by_id = say(*start(good))
    waiting.join(30)
    after = say(*call("POST", "/containers/web/restart?t=0"))
    print(f"locks rename: while the name is given by name {by_name}, by id {by_id}; afterwards {after}")
    remove(good)
    remove(evil)
    expected = "started" if args.unguarded else "refused name-busy"
    return 0 if (by_name, by_id, after) == (expected, "started", "started") else 1


def look(args):
    locked, other = create(args.good, "locked"), create(args.good, "other")
    prepared(locked and other, "no containers")
    with Lock(locked):
        begun = time.monotonic()
        threads = [later(lambda: start(locked)) for _ in range(20)]
        first = time.monotonic()
        honest = say(*start("other"))
        took = time.monotonic() - first
        if not args.unguarded:
            for thread, _ in threads:
                thread.join(10)
        refused = sum(1 for _, answers in threads if answers and say(*answers[0]) == "refused container-busy")
        all_took = time.monotonic() - begun
    print(f"locks look: the other container {honest} in {took:.2f} s; {refused} of 20 starts of the locked one refused, "
          f"in {all_took:.1f} s")
    for thread, _ in threads:
        thread.join(30)
    remove(locked)
    remove(other)
    return 0 if honest == "started" and took < 2 and refused == (0 if args.unguarded else 20) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rename", "look"])
    parser.add_argument("--good", required=True, help="a signed reference")
    parser.add_argument("--evil", help="the id of an image that nobody vouches for")
    parser.add_argument("--container", help="a container of it, made before the gate came")
    parser.add_argument("--unguarded", action="store_true", help="the gate is out of the chain")
    args = parser.parse_args()
    return {"rename": rename, "look": look}[args.what](args)


if __name__ == "__main__":
    sys.exit(main())
