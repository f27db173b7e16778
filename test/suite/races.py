#!/usr/bin/env python3
"""Races against the gate, on a real engine: between its look and the engine's own, a name comes to mean other content.

    races.py RACE --tries N --good REFERENCE --evil IMAGE-ID [--container ID] [--unguarded] [--ca FILE]

Each try asserts that the other content has not started. A race that nobody meets proves nothing: it goes on after its tries, for
so many seconds at most, until the two have met and honest starts have happened. With --unguarded (the gate out of the chain) it
goes on until the other content has started once, and fails if it never does. Runs inside the rig's machine.

    tag-in-registry     the tag moves in the registry between the check of a pull and the pull
    tag-on-host         the tag moves on the host between the check of a create and the create
    rename              the container's name moves by rename between the check of its start and the start
    remove              the same by remove, and rename or create
    before              a container that was there before the policy
    image-mount         the tag of an image mount moves (API 1.48 and newer)
    white-space         a container gets a name that some engines (29.0 to 29.7) trim to the judged one's; others refuse it
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
# How long two that do not meet are brought together again, seconds: the busiest machine needs a small part of it.
PATIENCE = 300
# Containers made here, for whoever tidies up.
LABELS = {"race": ""}
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
    """What came of a call, in a word."""
    message = answer.get("message", "") if isinstance(answer, dict) else ""
    if status in (204, 304):
        return "started"
    if "authorization denied by plugin" in message:
        return "refused " + message.split(": ")[1]
    return "not found" if status == 404 else f"failed {status}"


def quote(text):
    return urllib.parse.quote(text, safe="")


def inspect(container):
    return call("GET", f"/containers/{container}/json")[1]


def has_started(container):
    found = inspect(container)
    return "State" in found and not found["State"]["StartedAt"].startswith("0001-")


def create(image, name=None):
    status, answer = call("POST", "/containers/create" + (f"?name={name}" if name else ""),
                          {"Image": image, "Labels": LABELS, "HostConfig": {"NetworkMode": "none"}})
    return answer.get("Id") if status == 201 else None


def rename(container, name):
    moved = call("POST", f"/containers/{container}/rename?name={name}")[0] == 204
    counts["rename refused"] += not moved
    return moved


def remove(container):
    call("DELETE", f"/containers/{container}?force=1&v=1")


def both(first, second):
    """Runs two things at once, one a little later; returns what the first returned."""
    result = []
    offset = random.choice((0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.05)) * random.choice((-1, 1, 1))

    def one():
        time.sleep(max(-offset, 0))
        result.append(first())

    thread = threading.Thread(target=one)
    thread.start()
    time.sleep(max(offset, 0))
    second()
    thread.join()
    return result[0] if result else (0, {})


def start(spelling):
    return call("POST", f"/containers/{spelling}/start")


def spellings(container):
    """How the start spells the container, and the name that another one has to get for it. A name goes before the beginning of an
    id. To a slash before the name in a path the engine's router answers with a redirect; a name may be given with one."""
    prefix = container[:12]
    return [("web", "web"), ("w%65b", "%2Fweb"), ("web", "%2Fweb"), ("%77%65%62", "web"), ("%2Fweb", "web"), (prefix, prefix)]


def prepared(is_so, what):
    """A try that cannot begin as it should would prove nothing."""
    if not is_so:
        sys.exit(f"a try could not be prepared: {what}")


def named(container, name):
    """Gives the container this name, if it has not got it yet."""
    if inspect(container).get("Name") != "/" + name:
        prepared(call("POST", f"/containers/{container}/rename?name={name}")[0] == 204, f"nothing could be named {name}")


def evil_container(args):
    """A container of the other content that has never run."""
    if args.container:
        return args.container
    return create(args.evil)


def race_rename(args, number):
    good = race_rename.good = getattr(race_rename, "good", None) or create(args.good)
    evil = race_rename.evil = getattr(race_rename, "evil", None) or evil_container(args)
    target, name = spellings(good)[number % 6]
    named(evil, "evil")
    named(good, "aside" if name == good[:12] else "web")

    def move():
        if name != good[:12]:
            counts["moved away"] += rename(good, "away")
        counts["moved to the other"] += rename(evil, name)

    counts[say(*both(lambda: start(target), move))] += 1
    if has_started(evil):
        counts["EVIL"] += 1
        remove(evil)
        race_rename.evil = None


def race_remove(args, number):
    evil = race_remove.evil = getattr(race_remove, "evil", None) or evil_container(args)
    named(evil, "evil")
    good = create(args.good, "web")
    prepared(good, "no container web")
    target, name = spellings(good)[number % 6]
    made = []

    def move():
        counts["moved away"] += call("DELETE", f"/containers/{good}?force=1")[0] == 204
        if number % 2:
            made.append(create(args.evil, name))
            counts["made in its place" if made[0] else "other content refused at create"] += 1
        else:
            counts["moved to the other"] += rename(evil, name)

    counts[say(*both(lambda: start(target), move))] += 1
    for container in filter(None, made):
        counts["EVIL"] += has_started(container)
        remove(container)
    if has_started(evil):
        counts["EVIL"] += 1
        remove(evil)
        race_remove.evil = None
    remove(good)


def image_id(name):
    return call("GET", f"/images/{name}/json")[1].get("Id")


def tag(image, reference):
    repository, name = reference.rsplit(":", 1)
    return call("POST", f"/images/{image}/tag?repo={quote(repository)}&tag={name}")[0] == 201


def race_tag_on_host(args, number):
    good = race_tag_on_host.good = getattr(race_tag_on_host, "good", None) or image_id(args.good)
    prepared(tag(good, args.good), "the tag could not be set back")
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
    call("DELETE", f"/images/{args.good}?force=1")

    def pull():
        return call("POST", f"/images/create?fromImage={quote(repository)}&tag={name}")

    def move():
        # A pull takes its time: the tag moves before its check, between check and fetch, or after both.
        time.sleep(random.choice((0, 0.005, 0.01, 0.03, 0.1, 0.3)))
        counts["moved to the other"] += state.registry.put(state.evil)

    both(pull, move)
    prepared(state.registry.put(state.good), "the tag could not be set back")
    held = image_id(args.good)
    if held is None:
        counts["pull refused or failed"] += 1
        return
    is_evil = held == args.evil
    counts["pull brought the other content" if is_evil else "pull brought the good content"] += 1
    # By its name and by its id, in turn.
    made = create(held if number % 2 else args.good)
    if made is None:
        counts["refused at create"] += 1
        return
    counts[say(*start(made))] += 1
    counts["EVIL"] += is_evil and has_started(made)
    remove(made)


def race_before(args, number):
    evil = race_before.evil = getattr(race_before, "evil", None) or evil_container(args)
    named(evil, "web")
    ways = [("web", "start"), (evil, "start"), (evil[:12], "start"), ("%77eb", "start"), ("w%65b", "restart"), (evil, "restart")]
    target, action = ways[number % len(ways)]
    counts[say(*call("POST", f"/containers/{target}/{action}"))] += 1
    if has_started(evil):
        counts["EVIL"] += 1
        remove(evil)
        race_before.evil = None


def race_image_mount(args, number):
    state = race_image_mount
    if not hasattr(state, "sources"):
        found = call("GET", f"/images/{args.good}/json")[1]
        state.good = found["Id"]
        # By tag is refused in any case; without the gate it is the race.
        state.sources = [args.good] if args.unguarded else [args.good, found["Id"], found["RepoDigests"][0]]
    prepared(tag(state.good, args.good), "the tag could not be set back")
    mounts = [{"Type": "image", "Source": state.sources[number % len(state.sources)], "Target": "/mounted"}]

    def move():
        counts["moved to the other"] += tag(args.evil, args.good)

    status, answer = both(lambda: call("POST", "/containers/create", {
        "Image": state.good, "Cmd": ["/bin/cat", "/mounted/id"], "Labels": LABELS,
        "HostConfig": {"NetworkMode": "none", "Mounts": mounts}}), move)
    made = answer.get("Id") if status == 201 else None
    if made:
        counts[say(*start(made))] += 1
        call("POST", f"/containers/{made}/wait")
        logs = call("GET", f"/containers/{made}/logs?stdout=1")[1].get("message", "")
        counts["EVIL"] += "evil" in logs
        counts["the good content was mounted"] += "signed" in logs
        remove(made)
    else:
        counts[say(status, answer)] += 1
    tag(state.good, args.good)


# What those engines trim off a name: white space as Unicode has it.
SPACES = [chr(code) for code in (9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F,
                                 0x3000)]


def race_white_space(args, number):
    """The name is the approved container's, which is away for a moment, or its whole id, once it is gone: both with white space."""
    evil = race_white_space.evil = getattr(race_white_space, "evil", None) or evil_container(args)
    good = create(args.good, "web")
    prepared(good, "no container web")
    named(evil, "evil")
    space = SPACES[number // 6 % len(SPACES)]
    wanted = "web" if number % 2 else good
    name = [wanted + space, space + wanted, "/" + space + wanted + space][number // 2 % 3]
    named(good, "away")
    status, answer = call("POST", f"/containers/{evil}/rename?name={quote(name)}")
    counts["given" if status == 204 else say(status, answer)] += 1
    made = create(args.evil if args.unguarded else args.good, quote(name))
    counts["made under it" if made else "not made under it"] += 1
    remove(good)
    if inspect(evil).get("Name") == "/" + wanted or made:
        start(wanted)
        # Without the gate, that is what the engine makes of it; with it, neither call may have passed.
        counts["EVIL"] += 1 if not args.unguarded or has_started(evil) else 0
    if made:
        remove(made)
    if has_started(evil):
        remove(evil)
        race_white_space.evil = None


RACES = {
    "white-space": (race_white_space, ["refused request-unreadable"]),
    "rename": (race_rename, ["moved away", "moved to the other", "started"]),
    "remove": (race_remove, ["moved away", "moved to the other", "started"]),
    "tag-on-host": (race_tag_on_host, ["made of the other content", "made of the good content", "started"]),
    "tag-in-registry": (race_tag_in_registry, ["pull brought the other content", "pull brought the good content", "started"]),
    "before": (race_before, []),
    "image-mount": (race_image_mount, ["moved to the other", "the good content was mounted"]),
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
    parser.add_argument("--tries-alone", action="store_true", help="without the gate its tries are enough: the engine may refuse it")
    parser.add_argument("--ca")
    args = parser.parse_args()
    filters = quote(json.dumps({"label": ["race"]}))
    for left in call("GET", f"/containers/json?all=1&filters={filters}")[1]:
        if left["Id"] != args.container:
            remove(left["Id"])
    race, real = RACES[args.race]
    begun = time.monotonic()
    number = 0
    enough_since = None
    while True:
        race(args, number)
        number += 1
        missing = [] if args.unguarded else [what for what in real if not counts[what]]
        now = time.monotonic()
        if args.unguarded:
            if counts["EVIL"] or now > begun + PATIENCE or args.tries_alone and number >= args.tries:
                break
        elif number >= args.tries:
            enough_since = enough_since or now
            if not missing or counts["EVIL"] or now > enough_since + PATIENCE:
                break
    took = time.monotonic() - begun
    evil = counts.pop("EVIL", 0)
    rest = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()) if count)
    print(f"race {args.race}{' without the gate' if args.unguarded else ''}: {number} tries in {took:.1f} s: "
          f"the other content started in {evil}; {rest}")
    if args.unguarded and not evil and not args.tries_alone:
        print(f"no control: without the gate the other content did not start either, not once in {took:.0f} s")
    if missing:
        print(f"the race was none: never {', '.join(missing)}, not once in {took:.0f} s")
    return 1 if missing or bool(evil) != args.unguarded and not args.tries_alone else 0


if __name__ == "__main__":
    sys.exit(main())
