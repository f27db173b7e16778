#!/usr/bin/env python3
"""A client holds a container's lock: it asks for its files and does not read the answer. A rename of it then waits in the engine as
long as the client likes, and a look at it does not end. Runs inside the rig's machine.

    locks.py rename --good REFERENCE --evil IMAGE-ID [--unguarded]   a name that is being given starts nothing, however long it takes
    locks.py restart --good REFERENCE --evil IMAGE-ID                nor when the gate died meanwhile
    locks.py look --good REFERENCE [--unguarded]                     a container that hangs does not hold up the start of another
    locks.py many --good REFERENCE [--unguarded]                     nor do more of them than the gate looks at at a time
    locks.py create --good REFERENCE [--unguarded]                   a name that a create gives starts nothing, however long the
                                                                     client's volume driver takes
    locks.py form --good REFERENCE --evil IMAGE-ID [--unguarded]     a call whose form the client withholds does not outlive its lease

A try for each --container, some at once.
"""
import argparse
import collections
import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../rig"))
import unix_http
from races import SOCKET, both, call, create, has_started, named, prepared, remove, rename, say, start

# Longer than the gate holds a name by time alone.
HELD = 22
# Tries at once: most of their time is that.
AT_ONCE = 5


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


class Try:
    """One container of the approved content and one of the other, which is being renamed to the first one's name."""

    def __init__(self, args, number, container):
        self.number, self.name = number, f"web{number}"
        self.good, self.evil = create(args.good), container or create(args.evil)
        prepared(self.good and self.evil, "no containers")
        named(self.evil, f"evil{number}")
        named(self.good, f"away{number}")
        self.lock = Lock(self.evil).__enter__()
        self.waiting, self.answers = later(lambda: call("POST", f"/containers/{self.evil}/rename?name={self.name}"))
        prepared(not self.answers, f"the rename does not wait: {self.answers}")
        # The name is free as yet, and goes back to the container that may start.
        named(self.good, self.name)

    def attack(self, args):
        """Starts by the name: while it is being given; then while the approved container leaves it and the lock is let go."""
        held = "" if args.unguarded else say(*start(self.name))

        def leave():
            rename(self.good, f"left{self.number}")
            self.lock.__exit__()
            self.waiting.join(60)

        came_to = say(*both(lambda: start(self.name), leave))
        # Once more, when all has been carried out that the engine will carry out.
        again = say(*start(self.name))
        by_id = say(*start(self.good))
        is_evil = has_started(self.evil)
        remove(self.good)
        remove(self.evil)
        return held, [came_to, again], by_id, is_evil


def gate_dies():
    """The managed plugin's process is killed, and is there again. dockerd waits ever longer with one that lived under ten seconds."""
    time.sleep(10)
    pids = subprocess.run(["pgrep", "-f", "^/img-authz serve"], capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(pids[0]), signal.SIGKILL)
    until = time.monotonic() + 30
    while call("GET", "/containers/json")[0] != 200:
        prepared(time.monotonic() < until, "the gate does not come back")
        time.sleep(0.1)


def attacked(args, meanwhile):
    containers = args.container or [None]
    begun, held, came_to, started, at_id = time.monotonic(), 0, collections.Counter(), 0, 0
    for first in range(0, len(containers), AT_ONCE):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
            chunk = enumerate(containers[first:first + AT_ONCE], first)
            tries = list(threads.map(lambda one: Try(args, *one), chunk))
        if not args.unguarded:
            meanwhile()
        for one in tries:
            at_first, later_on, by_id, is_evil = one.attack(args)
            held += at_first == "refused name-busy"
            came_to.update(later_on)
            at_id += by_id == "started"
            started += is_evil
    took = time.monotonic() - begun
    print(f"locks {args.what}{' without the gate' if args.unguarded else ''}: {len(containers)} tries in {took:.0f} s: the other "
          f"content started in {started}; starts by the name while it was given refused in {held}; while it moved, two a try: "
          f"{dict(came_to)}; the approved one started by its id in {at_id}")
    if args.unguarded:
        return 0 if started else 1
    return 0 if not started and held == at_id == len(containers) else 1


def look(args):
    locked, other = create(args.good, "locked"), create(args.good, "other")
    prepared(locked and other, "no containers")
    # What the engine itself takes for a start on this machine.
    begun = time.monotonic()
    start(locked)
    alone = time.monotonic() - begun
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
    return 0 if honest == "started" and took < 2 + alone and refused == (0 if args.unguarded else 20) else 1


def many(args):
    count = 3 if args.unguarded else 24
    held = [create(args.good, f"locked{number}") for number in range(count)]
    other = create(args.good, "other")
    prepared(all(held) and other, "no containers")
    # What the engine itself takes for it on this machine.
    begun = time.monotonic()
    call("POST", f"/containers/{other}/restart?t=0")
    alone = time.monotonic() - begun
    locks = [Lock(container) for container in held]
    for lock in locks:
        lock.__enter__()
    # By name, by whole id and by beginnings of it: each container under several spellings.
    spellings = [spelling for container in held for spelling in (container, container[:12], container[:20])]
    threads = []
    for spelling in spellings + [f"locked{number}" for number in range(count)]:
        answers = []
        thread = threading.Thread(target=lambda spelling=spelling, answers=answers: answers.append(start(spelling)), daemon=True)
        thread.start()
        threads.append((thread, answers))
    times, said = [], set()
    for _ in range(5):
        begun = time.monotonic()
        said.add(say(*call("POST", f"/containers/{other}/restart?t=0")))
        times.append(time.monotonic() - begun)
    if not args.unguarded:
        for thread, _ in threads:
            thread.join(10)
    refused = sum(1 for _, answers in threads if answers and say(*answers[0]) == "refused container-busy")
    for lock in locks:
        lock.__exit__()
    print(f"locks many: the other container {said} in {max(times):.2f} s at most ({alone:.2f} s alone); {refused} of {len(threads)} starts refused")
    for thread, _ in threads:
        thread.join(30)
    for container in held + [other]:
        remove(container)
    is_quick = args.unguarded or max(times) < 2 + alone
    return 0 if said == {"started"} and is_quick and refused == (0 if args.unguarded else len(threads)) else 1


class Driver(unix_http.Handler):
    """A volume driver that makes no volume until it is told to fail."""
    ends = threading.Event()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = {"Implements": ["VolumeDriver"], "Capabilities": {"Scope": "local"}, "Volumes": []}
        if self.path.endswith((".Create", ".Get")):
            answer = {"Err": "no such volume"}
        if self.path.endswith(".Create"):
            Driver.ends.wait(100)
        self.answer(answer)


def slow_create(args):
    """A create waits for a volume driver behind the place where it has taken its name: until it is over, that name is nobody's, and
    the beginning of a container's id that is spelled alike means that container."""
    good = create(args.good)
    prepared(good, "no container")
    prefix, path = good[:12], "/run/docker/plugins/slow.sock"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Driver.ends.clear()
    with unix_http.Server(path, Driver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        body = {"Image": args.good, "HostConfig": {"NetworkMode": "none", "Binds": ["slow:/slow"], "VolumeDriver": "slow"}}
        waiting, answers = later(lambda: call("POST", f"/containers/create?name={prefix}", body))
        time.sleep(0 if args.unguarded else HELD)
        prepared(not answers, f"the create does not wait: {answers}")
        by_prefix = say(*start(prefix))
        by_id = say(*start(good))
        Driver.ends.set()
        waiting.join(30)
        server.shutdown()
    os.unlink(path)
    after = say(*call("POST", f"/containers/{prefix}/restart?t=0"))
    print(f"locks create: while the name is given by it {by_prefix}, by the whole id {by_id}; afterwards {after}")
    remove(good)
    expected = "started" if args.unguarded else "refused name-busy"
    return 0 if (by_prefix, by_id, after) == (expected, "started", "started") else 1


def withheld(args, action, evil):
    """Asks for a start with a form, of which nothing comes until the name means another container; what the engine said to that."""
    good = create(args.good, "web")
    prepared(good and evil, "no containers")
    named(evil, "evil")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(SOCKET)
        client.sendall(f"POST /containers/web/{action} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                       "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\n".encode())
        client.settimeout(2 if args.unguarded else HELD)
        try:
            answer = client.recv(4096)
        except TimeoutError:
            answer = b""
        if not answer:
            prepared(rename(good, "away") and rename(evil, "web"), "the name does not move")
            client.settimeout(60)
            client.sendall(b"t=00000")
            answer = client.recv(4096)
    is_evil = has_started(evil)
    # What is shown whole is waited for by nobody: as Portainer asks, and as anybody does.
    by_id = say(*call("POST", f"/containers/{good}/start", {})), say(*call("POST", f"/containers/{good}/{action}?t=0"))
    remove(good)
    remove(evil)
    return is_evil, b"request-unreadable" in answer, by_id


def form(args):
    made = args.container or [create(args.evil), create(args.evil)]
    results = [withheld(args, action, evil) for action, evil in zip(("restart", "start"), made)]
    started, refused, by_id = zip(*results)
    print(f"locks form{' without the gate' if args.unguarded else ''}: the other content started in {sum(started)} of "
          f"{len(results)}; refused {sum(refused)}; by id {by_id}")
    if any(word != "started" for both_words in by_id for word in both_words):
        return 1
    return 0 if (sum(started), sum(refused)) == ((2, 0) if args.unguarded else (0, 2)) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rename", "restart", "look", "many", "create", "form"])
    parser.add_argument("--good", required=True, help="a signed reference")
    parser.add_argument("--evil", help="the id of an image that nobody vouches for")
    parser.add_argument("--container", action="append", help="a container of it, made before the gate came")
    parser.add_argument("--unguarded", action="store_true", help="the gate is out of the chain")
    args = parser.parse_args()
    others = {"look": look, "many": many, "create": slow_create, "form": form}
    if args.what in others:
        return others[args.what](args)
    return attacked(args, gate_dies if args.what == "restart" else lambda: time.sleep(HELD))


if __name__ == "__main__":
    sys.exit(main())
