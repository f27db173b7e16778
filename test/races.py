#!/usr/bin/env python3
"""Races against the gate, on a real engine: between its look and the engine's own, a name comes to mean other content.

    races.py RACE --tries N --good REFERENCE --evil IMAGE-ID [--container ID] [--unguarded] [--ca FILE]

Each try asserts that the other content has not started; at the end, that the race was one: names moved, and honest starts
happened. With --unguarded (the gate out of the chain) it must start at least once. Runs inside the rig's machine.

    tag-in-registry     the tag moves in the registry between the check of a pull and the pull
    tag-on-host         the tag moves on the host between the check of a create and the create
    rename              the container's name moves by rename between the check of its start and the start
    remove              the same by remove, and rename or create
    before              a container that was there before the policy
    image-mount         the tag of an image mount moves (API 1.48 and newer)
"""
import argparse
import collections
import http.client
import json
import random
import socket
import ssl
import sys
import threading
import time
import urllib.parse

SOCKET = "/run/docker.sock"
counts = collections.Counter()
failures = []


class Engine(http.client.HTTPConnection):
    def __init__(self):
        super().__init__("engine", timeout=60)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(SOCKET)


def call(method, target, body=None):
    """One call; its status and its decoded answer."""
    engine = Engine()
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        engine.request(method, target, None if body is None else json.dumps(body), headers)
        answer = engine.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        engine.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, {"message": text}


def say(status, answer):
    """What came of a start, in a word."""
    message = answer.get("message", "") if isinstance(answer, dict) else ""
    if status in (204, 304):
        return "started"
    if "authorization denied by plugin" in message:
        return "refused " + message.split(": ")[1]
    return "no such container" if status == 404 else f"failed {status}"


def quote(text):
    return urllib.parse.quote(text, safe="")


def inspect(container):
    return call("GET", f"/containers/{container}/json")[1]


def has_started(container):
    found = inspect(container)
    return "State" in found and not found["State"]["StartedAt"].startswith("0001-")


def create(image, name=None, **config):
    status, answer = call("POST", "/containers/create" + (f"?name={name}" if name else ""),
                          {"Image": image, "HostConfig": {"NetworkMode": "none", **config}})
    return answer.get("Id") if status == 201 else None


def remove(container):
    call("DELETE", f"/containers/{container}?force=1&v=1")


def both(first, second):
    """Runs two things at once, the second a little later; returns what the first returned."""
    result = []
    thread = threading.Thread(target=lambda: result.append(first()))
    thread.start()
    time.sleep(random.choice((0, 0.001, 0.002, 0.004, 0.008, 0.016)))
    second()
    thread.join()
    return result[0] if result else (0, {})


def start(spelling):
    return call("POST", f"/containers/{spelling}/start")


def spellings(container):
    """Target of the start, and the name that has to move for it."""
    prefix = container[:12]
    return [("web", "web"), ("%2Fweb", "web"), ("w%65b", "web"), ("%77%65%62", "web"), (prefix, prefix)]


def evil_container(args):
    """A container of the other content that has never run."""
    if args.container:
        return args.container
    return create(args.evil)


def race_rename(args, number):
    good = race_rename.good = getattr(race_rename, "good", None) or create(args.good)
    evil = race_rename.evil = getattr(race_rename, "evil", None) or evil_container(args)
    target, name = spellings(good)[number % 5]
    call("POST", f"/containers/{good}/rename?name={'aside' if name != 'web' else 'web'}")

    def move():
        if name == "web":
            counts["moved away"] += call("POST", f"/containers/{good}/rename?name=away")[0] == 204
        counts["moved to the other"] += call("POST", f"/containers/{evil}/rename?name={name}")[0] == 204

    counts[say(*both(lambda: start(target), move))] += 1
    if has_started(evil):
        counts["EVIL"] += 1
        remove(evil)
        race_rename.evil = None
    else:
        call("POST", f"/containers/{evil}/rename?name=evil")


def race_remove(args, number):
    good = create(args.good, "web")
    if good is None:
        return
    evil = race_remove.evil = getattr(race_remove, "evil", None) or evil_container(args)
    target, name = spellings(good)[number % 4]
    made = []

    def move():
        counts["moved away"] += call("DELETE", f"/containers/{good}?force=1")[0] == 204
        if number % 2:
            made.append(create(args.evil, name))
            counts["made in its place" if made[0] else "other content refused at create"] += 1
        else:
            counts["moved to the other"] += call("POST", f"/containers/{evil}/rename?name={name}")[0] == 204

    counts[say(*both(lambda: start(target), move))] += 1
    for container in filter(None, made):
        counts["EVIL"] += has_started(container)
        remove(container)
    if has_started(evil):
        counts["EVIL"] += 1
        remove(evil)
        race_remove.evil = None
    else:
        call("POST", f"/containers/{evil}/rename?name=evil")
    remove(good)


def image_id(name):
    return call("GET", f"/images/{name}/json")[1].get("Id")


def tag(image, reference):
    repository, name = reference.rsplit(":", 1)
    return call("POST", f"/images/{image}/tag?repo={quote(repository)}&tag={name}")[0] == 201


def race_tag_on_host(args, number):
    good = race_tag_on_host.good = getattr(race_tag_on_host, "good", None) or image_id(args.good)
    tag(good, args.good)
    made = []

    def move():
        counts["moved to the other"] += tag(args.evil, args.good)

    both(lambda: made.append(create(args.good)), move)
    tag(good, args.good)
    if not made or made[0] is None:
        counts["refused at create"] += 1
        return
    is_evil = inspect(made[0]).get("Image") == args.evil
    counts["made of the other content" if is_evil else "made of the good content"] += 1
    counts[say(*start(made[0]))] += 1
    counts["EVIL"] += is_evil and has_started(made[0])
    remove(made[0])


class Registry:
    """One repository of a registry, of which a tag can be moved."""

    def __init__(self, reference, ca):
        name, self.tag = reference.rsplit(":", 1)
        self.host, self.path = name.split("/", 1)
        self.context = ssl.create_default_context(cafile=ca)

    def call(self, method, what, body=None, kind=None):
        registry = http.client.HTTPSConnection(self.host, context=self.context, timeout=60)
        accept = "application/vnd.docker.distribution.manifest.v2+json"
        headers = {"Accept": accept, **({"Content-Type": kind} if kind else {})}
        registry.request(method, f"/v2/{self.path}/manifests/{what}", body, headers)
        answer = registry.getresponse()
        body = answer.read()
        registry.close()
        return answer.status, body, answer.headers.get("Content-Type")

    def put(self, manifest):
        body, kind = manifest
        return self.call("PUT", self.tag, body, kind)[0] == 201


def race_tag_in_registry(args, number):
    state = race_tag_in_registry
    if not hasattr(state, "registry"):
        state.registry = Registry(args.good, args.ca)
        state.good = state.registry.call("GET", state.registry.tag)[1:]
        state.evil = state.registry.call("GET", args.other_tag)[1:]
    repository, name = args.good.rsplit(":", 1)
    state.registry.put(state.good)
    call("DELETE", f"/images/{args.good}?force=1")

    def pull():
        return call("POST", f"/images/create?fromImage={quote(repository)}&tag={name}")

    def move():
        time.sleep(random.choice((0, 0, 0.01, 0.03)))
        counts["moved to the other"] += state.registry.put(state.evil)

    status, answer = both(pull, move)
    held = image_id(args.good)
    if held is None:
        counts["pull refused or failed"] += 1
        return
    is_evil = held == args.evil
    counts["pull brought the other content" if is_evil else "pull brought the good content"] += 1
    container = create(args.good)
    by_id = create(held)
    for made in filter(None, (container, by_id)):
        counts[say(*start(made))] += 1
        counts["EVIL"] += is_evil and has_started(made)
        remove(made)
    counts["refused at create"] += (container is None) + (by_id is None)


def race_before(args, number):
    evil = race_before.evil = getattr(race_before, "evil", None) or evil_container(args)
    call("POST", f"/containers/{evil}/rename?name=web")
    ways = [("web", "start"), (evil, "start"), (evil[:12], "start"), ("%2Fweb", "start"), ("w%65b", "restart"), (evil, "restart")]
    target, action = ways[number % len(ways)]
    counts[say(*call("POST", f"/containers/{target}/{action}"))] += 1
    if has_started(evil):
        counts["EVIL"] += 1
        remove(evil)
        race_before.evil = None


def race_image_mount(args, number):
    good = race_image_mount.good = getattr(race_image_mount, "good", None) or image_id(args.good)
    tag(good, args.good)
    source = (args.good, good)[number % 2]
    made = []

    def move():
        counts["moved to the other"] += tag(args.evil, args.good)

    mounts = [{"Type": "image", "Source": source, "Target": "/mounted"}]
    status, answer = both(lambda: call("POST", "/containers/create", {
        "Image": good, "Cmd": ["/bin/cat", "/mounted/id"], "HostConfig": {"NetworkMode": "none", "Mounts": mounts}}), move)
    made = answer.get("Id") if status == 201 else None
    if made:
        counts["made"] += 1
        counts[say(*start(made))] += 1
        call("POST", f"/containers/{made}/wait")
        logs = call("GET", f"/containers/{made}/logs?stdout=1")[1].get("message", "")
        counts["EVIL"] += "evil" in logs
        remove(made)
    else:
        counts[say(status, answer)] += 1
    tag(good, args.good)


RACES = {
    "rename": (race_rename, ["moved to the other", "started"]),
    "remove": (race_remove, ["moved away", "moved to the other", "started"]),
    "tag-on-host": (race_tag_on_host, ["moved to the other", "made of the good content", "started"]),
    "tag-in-registry": (race_tag_in_registry, ["moved to the other", "pull brought the good content", "started"]),
    "before": (race_before, []),
    "image-mount": (race_image_mount, ["moved to the other"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("race", choices=RACES)
    parser.add_argument("--tries", type=int, default=30)
    parser.add_argument("--good", required=True, help="a signed reference")
    parser.add_argument("--evil", required=True, help="the id of an image that nobody vouches for")
    parser.add_argument("--container", help="a container of it, made before the gate came")
    parser.add_argument("--other-tag", default="other", help="the tag that the other content has in the registry")
    parser.add_argument("--unguarded", action="store_true", help="the gate is out of the chain")
    parser.add_argument("--ca")
    args = parser.parse_args()
    if args.race == "image-mount":
        version = call("GET", "/version")[1]["ApiVersion"]
        if tuple(map(int, version.split("."))) < (1, 48):
            print(f"race image-mount: skipped, this engine has API {version} and image mounts came with 1.48")
            return 0
    race, real = RACES[args.race]
    begun = time.monotonic()
    for number in range(args.tries):
        race(args, number)
        if args.unguarded and counts["EVIL"]:
            break
    took = time.monotonic() - begun
    evil = counts.pop("EVIL", 0)
    rest = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()) if count)
    print(f"race {args.race}{' without the gate' if args.unguarded else ''}: {number + 1} tries in {took:.1f} s: "
          f"the other content started in {evil}; {rest}")
    if args.unguarded:
        return 0 if evil else 1
    missing = [what for what in real if not counts[what]]
    if missing:
        print(f"the race was none: never {', '.join(missing)}")
    return 1 if evil or missing else 0


if __name__ == "__main__":
    sys.exit(main())
