#!/usr/bin/env python3
"""Many calls at once, and for long, against the gate on a real engine: what others notice, and what it costs. Runs inside the rig's
machine. Each prints its figures, and fails where one is over its bound.

    floods.py flood --gate PID --socket PATH --good REFERENCE --other REFERENCE --slow REFERENCE
                                                                                     2,000 hanging calls of one client
    floods.py flood --unguarded --good REFERENCE                                     the same of an engine without a gate
    floods.py starts --gate PID --good REFERENCE [--count 100]                       starts of approved containers, all at once
    floods.py bodies --gate PID --socket PATH                                        the largest posts, 100 at once
    floods.py peers --socket PATH [--count 1000] [--seconds 15]                      connections that say nothing
    floods.py soak --gate PID --good REFERENCE --evil ID [--seconds 180]             ordinary work
"""
import argparse
import asyncio
import collections
import contextlib
import http.client
import json
import os
import random
import resource
import socket
import subprocess
import sys
import threading
import time

from races import SOCKET, call, create, inspect, prepared, remove, say, start

# Of 2,000 calls, those of each kind. What is refused at once is tried again by its client after so many seconds, each in its own time.
STARTS, RENAMES, CREATES, AGAIN = 900, 900, 200, (20, 40)
# Seconds after which what is measured is taken for unanswered.
PATIENCE = 30
# Containers that the client keeps locked, by a slow read of their files.
LOCKED = 50
# Milliseconds at p99 that `docker ps` may take, and the gate for its answer about it; how many times as long as without a flood, where
# that is more; seconds of an honest `docker run`; MiB that memory may differ by between the second flood and the third.
PS_P99, SLOWER, RUN, GROWTH = 5, 1.5, 2, 4
# Seconds in which 100 starts are answered while Notary hangs: most of it is the engine's own work, on two cores.
ANSWERED = 60
# MiB that the gate may take at most with the largest posts: 32 of them in its budget, decoded, and its own.
PEAK = 160
# How the soak's figures may grow after its first minute: MiB, descriptors.
SOAK_GROWTH, SOAK_DESCRIPTORS = 4, 12

failures = []


def bounded(what, value, bound, unit):
    is_good = value <= bound
    print(f"    {what}: {value:.2f} {unit}, at most {bound}{'' if is_good else '  FAILED'}", flush=True)
    if not is_good:
        failures.append(what)


def rss(pid):
    """MiB."""
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")) / 1024


def peak(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM")) / 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu(pid):
    """Seconds of the processor, all threads."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def at(part, values):
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


# The engine's question to the gate about `docker ps`.
QUESTION = json.dumps({"RequestMethod": "GET", "RequestUri": "/v1.41/containers/json", "RequestHeaders": {}})


def ps(seconds, gate=None):
    """What `docker ps` asks, again and again, over one connection; or what the engine asks the gate about it. Milliseconds."""
    took, until, engine = [], time.monotonic() + seconds, None
    while time.monotonic() < until:
        if engine is None:
            engine = http.client.HTTPConnection("engine")
            engine.sock = socket.socket(socket.AF_UNIX)
            engine.sock.settimeout(PATIENCE)
            engine.sock.connect(gate or SOCKET)
        begun = time.monotonic()
        try:
            if gate:
                engine.request("POST", "/AuthZPlugin.AuthZReq", QUESTION)
            else:
                engine.request("GET", "/containers/json")
            engine.getresponse().read()
        except OSError:
            engine.close()
            engine = None
        took.append((time.monotonic() - begun) * 1000)
        time.sleep(0.02)
    return took


def honest(image):
    """A `docker run`: seconds until its container has ended."""
    begun = time.monotonic()
    try:
        ran = subprocess.run(["docker", "run", "--rm", "--network", "none", image], capture_output=True, text=True, timeout=PATIENCE)
        why = ran.returncode and ran.stderr.strip().splitlines()[0][:200]
    except subprocess.TimeoutExpired:
        why = f"no answer in {PATIENCE} s"
    if why:
        print(f"    an honest docker run failed: {why}", flush=True)
        failures.append("an honest docker run")
    return time.monotonic() - begun


def locks(containers):
    """Sockets that hold these containers' locks: their files are asked for and not read."""
    held = []
    for container in containers:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(SOCKET)
        peer.sendall(f"GET /containers/{container}/archive?path=/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        prepared(b"200" in peer.recv(64), "a container's files are not sent")
        held.append(peer)
    time.sleep(0.5)
    return held


async def caller(target, body, answers):
    """One connection of the flood."""
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(SOCKET)
        except OSError:
            await asyncio.sleep(random.uniform(*AGAIN))
            continue
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        try:
            writer.write((head + "\r\n" + body).encode())
            answers["sent"] += 1
            answer = (await reader.read()).decode(errors="replace")
            denied = answer.partition("authorization denied by plugin ")[2]
            answers[denied.split(": ")[1] if denied else answer[9:12] or "nothing"] += 1
        except OSError:
            answers["broken"] += 1
        finally:
            writer.close()
        await asyncio.sleep(random.uniform(*AGAIN))


async def hammer(args):
    """The flood's own process: it goes on until its standard input ends."""
    answers = collections.Counter()
    body = json.dumps({"Image": args.slow, "HostConfig": {"NetworkMode": "none"}})
    calls = [(f"/containers/lock{index % LOCKED}/start", "") for index in range(STARTS)]
    calls += [(f"/containers/lock{index % LOCKED}/rename?name=new{index}", "") for index in range(RENAMES)]
    # Without a gate they are no calls that hang: they make containers.
    calls += [] if args.unguarded else [("/containers/create", body)] * CREATES
    tasks = [asyncio.create_task(caller(target, body, answers)) for target, body in calls]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    answered = ", ".join(f"{what} {count}" for what, count in sorted(answers.items()) if what != "sent")
    print(f"    flood: {len(calls)} connections, {answers['sent']} calls sent; answered: {answered or 'none'}", flush=True)


@contextlib.contextmanager
def flooded(containers, *more):
    """While 2,000 calls of one client hang, or are tried again."""
    held = locks(containers)
    flooding = subprocess.Popen([sys.executable, __file__, "hammer", *more], stdin=subprocess.PIPE)
    # Until all have been sent, and what is refused has been.
    time.sleep(12)
    yield
    flooding.stdin.close()
    flooding.wait(60)
    for peer in held:
        peer.close()


def flood(args):
    containers = [create(args.good, f"lock{index}") for index in range(LOCKED)]
    prepared(all(containers), "no containers")
    if args.unguarded:
        with flooded(containers, "--unguarded"):
            took = ps(12)
        print(f"    without a gate: ps p50 {at(0.5, took):.1f} ms, p99 {at(0.99, took):.1f} ms, longest {max(took):.1f} ms")
    else:
        guarded(args, containers)
    for container in containers:
        try:
            remove(container)
        except OSError as error:
            print(f"    a container could not be removed: {error}")


def guarded(args, containers):
    honest(args.other)
    alone, asked_alone = ps(12), ps(6, args.socket)
    print(f"    without a flood: ps p50 {at(0.5, alone):.1f} ms, p99 {at(0.99, alone):.1f} ms, of which the gate p50 "
          f"{at(0.5, asked_alone):.1f} ms, p99 {at(0.99, asked_alone):.1f} ms; docker run {honest(args.other):.2f} s, memory {rss(args.gate):.1f} MiB, {descriptors(args.gate)} descriptors")
    after = []
    for number in (1, 2, 3):
        with flooded(containers, "--slow", args.slow):
            before = cpu(args.gate)
            took = ps(12)
            busy = (cpu(args.gate) - before) / 12
            asked = ps(6, args.socket)
            runs = [honest(args.other) for _ in range(5)]
            during, open_now = rss(args.gate), descriptors(args.gate)
        time.sleep(12)
        after.append(rss(args.gate))
        print(f"    flood {number}: ps p50 {at(0.5, took):.1f} ms, longest {max(took):.1f} ms, of which the gate p50 {at(0.5, asked):.1f} ms, "
              f"longest {max(asked):.1f} ms, which had {busy:.2f} of a processor; memory meanwhile {during:.1f} MiB, {open_now} descriptors, afterwards {after[-1]:.1f} MiB")
        bounded("the gate's answer about docker ps at p99", at(0.99, asked), max(PS_P99, SLOWER * at(0.99, asked_alone)), "ms")
        bounded("docker ps at p99", at(0.99, took), max(PS_P99, SLOWER * at(0.99, alone)), "ms")
        bounded("an honest docker run, the longest of five", max(runs), RUN, "s")
    bounded("memory of the gate, after the third flood more than after the second", after[2] - after[1], GROWTH, "MiB")


def starts(args):
    containers = [create(args.good) for _ in range(args.count)]
    prepared(all(containers), "no containers")
    answers, longest, took = collections.Counter(), [], []

    def one(container):
        begun = time.monotonic()
        try:
            answers[say(*start(container))] += 1
        except OSError as error:
            answers[f"unanswered: {error}"] += 1
        longest.append(time.monotonic() - begun)

    threads = [threading.Thread(target=one, args=(container,)) for container in containers]
    open(args.mode, "w").write("hang")
    listing = threading.Thread(target=lambda: took.extend(ps(5)))
    listing.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    listing.join()
    open(args.mode, "w").write("pass")
    print(f"    {len(longest)} of {args.count} starts answered: {dict(answers)}; ps p99 {at(0.99, took):.1f} ms, longest {max(took):.1f} ms")
    bounded("the longest start", max(longest), ANSWERED, "s")
    if len(longest) != args.count or set(answers) - {"started", "refused trust-busy", "refused trust-unreachable"}:
        failures.append("an answer that is none of these")
    for container in containers:
        remove(container)


def post(path, body):
    """One post to the gate's own socket, as the daemon's."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(path)
    head = f"POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = b""
    # One that is answered before it was sent whole ends with an error on either side of the answer.
    with contextlib.suppress(OSError):
        peer.sendall(head.encode() + body)
    with contextlib.suppress(OSError):
        while part := peer.recv(65536):
            answer += part
    peer.close()
    return answer


def bodies(args):
    import base64
    image = base64.b64encode(json.dumps({"Image": "evil:1.0", "Labels": {"x": "x" * (4_000_000)}}).encode()).decode()
    largest = json.dumps({"RequestMethod": "POST", "RequestUri": "/v1.41/containers/create", "RequestBody": image,
                          "RequestHeaders": {"Content-Type": "application/json"}}).encode()
    answers = collections.Counter()
    before = rss(args.gate)

    def one():
        for _ in range(3):
            try:
                answer = post(args.socket, largest)
            except OSError:
                answer = b""
            answers["allowed" if b'"Allow":true' in answer else "refused" if b'"Allow":false' in answer else "unanswered"] += 1

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    print(f"    300 posts of {len(largest) >> 20} MiB: {dict(answers)}; memory before {before:.1f}, afterwards {rss(args.gate):.1f} MiB")
    bounded("memory of the gate at its peak", peak(args.gate), PEAK, "MiB")
    if dict(answers) != {"refused": 300}:
        failures.append("posts that were not refused")


def peers(args):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, args.count + 100), hard))
    held, until = [], time.monotonic() + args.seconds
    while time.monotonic() < until:
        # The gate closes the oldest: they come back.
        while len(held) < args.count:
            peer = socket.socket(socket.AF_UNIX)
            peer.setblocking(False)
            if peer.connect_ex(args.socket) != 0:
                peer.close()
                break
            held.append(peer)
        time.sleep(0.2)
        for peer in held[:]:
            try:
                if peer.recv(1) == b"":
                    held.remove(peer)
                    peer.close()
            except BlockingIOError:
                pass
            except OSError:
                held.remove(peer)
                peer.close()
    print(f"    {len(held)} silent peers were there at the end")


def soak(args):
    counts = collections.Counter()
    until = time.monotonic() + args.seconds
    stranger = args.container

    def work():
        while time.monotonic() < until:
            made = create(args.good)
            counts["created"] += made is not None
            if made:
                counts["start " + say(*start(made))] += 1
                counts["renamed"] += call("POST", f"/containers/{made}/rename?name=n{made[:12]}")[0] == 204
                remove(made)
            counts["evil created"] += create(args.evil) is not None
            counts["stranger " + say(*start(stranger))] += 1
            counts["listed"] += call("GET", "/containers/json")[0] == 200

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    samples = []
    while time.monotonic() < until:
        time.sleep(1)
        samples.append((rss(args.gate), descriptors(args.gate)))
    for thread in threads:
        thread.join(60)
    third = len(samples) // 3
    early, late = samples[third:2 * third], samples[2 * third:]
    growth = [max(sample[i] for sample in late) - max(sample[i] for sample in early) for i in (0, 1)]
    print(f"    {args.seconds} s: {dict(counts)}; memory {samples[0][0]:.1f}, {early[-1][0]:.1f}, {late[-1][0]:.1f} MiB; "
          f"descriptors {samples[0][1]}, {early[-1][1]}, {late[-1][1]}")
    bounded("memory in the last third more than in the second", growth[0], SOAK_GROWTH, "MiB")
    bounded("descriptors in the last third more than in the second", growth[1], SOAK_DESCRIPTORS, "descriptors")
    if counts["evil created"] or not inspect(stranger)["State"]["StartedAt"].startswith("0001-"):
        failures.append("what nobody approved was created or started")
    if not counts["start started"]:
        failures.append("nothing has started")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["flood", "starts", "bodies", "peers", "soak", "hammer"])
    parser.add_argument("--gate", type=int, help="the gate's process")
    parser.add_argument("--socket", help="the gate's socket")
    parser.add_argument("--good", help="a signed reference, on the host")
    parser.add_argument("--other", help="another one")
    parser.add_argument("--slow", help="one that is on the host, of a repository about which Notary does not answer")
    parser.add_argument("--evil", help="the id of an image that nobody vouches for")
    parser.add_argument("--container", help="a container of it, made before the gate came")
    parser.add_argument("--unguarded", action="store_true", help="the gate is not in force: how the engine alone does")
    parser.add_argument("--mode", help="the mode file of the proxy before Notary")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=180)
    args = parser.parse_args()
    if args.what == "hammer":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        asyncio.run(hammer(args))
        return 0
    {"flood": flood, "starts": starts, "bodies": bodies, "peers": peers, "soak": soak}[args.what](args)
    for failure in failures:
        print(f"failed: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
