#!/usr/bin/env python3
"""Containers of approved and other images come and go at random, beside a monitor that stops what is not approved.

    churn.py ENGINE.SH ALLOWLIST SECONDS     as test/suite/churn.sh calls it; PLUGIN, AUDIT and CHURN_SEED are of the environment

What must hold: no entry of the audit log says that an approved container was found, held, stopped, removed or killed, and each that
should run does; each unapproved start, and each approval that is taken back, is on record within two seconds. Prints figures; exit code 1
where something did not hold.
"""
import datetime
import json
import os
import random
import subprocess
import sys
import time

ENGINE, ALLOWLIST, SECONDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
PLUGIN, AUDIT = os.environ["PLUGIN"], os.environ["AUDIT"]
APP, TOOL = "registry.test:5000/app:1.0", "registry.test:5000/tool:1.0"
# So many approved ones that one in ten may be acted on at once.
APPROVED = 12
FOUND_WITHIN = 2.0
# How long an entry is waited for before it counts as never written.
PATIENCE = 15.0
TOUCHED = ("UNAPPROVED", "STOPPED", "REMOVED", "KILLED", "HELD")
# How long some are left to the monitor, which may stop one in ten minutes.
LEFT = 4.0

seed = int(os.environ.get("CHURN_SEED") or time.time())
chance = random.Random(seed)
faults = []


def docker(*arguments, may_fail=False, unless=""):
    """`unless`: a failure that says so is the engine's own."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
    if done.returncode and not may_fail and not (unless and unless in done.stderr):
        faults.append(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def engine(*arguments):
    subprocess.run([ENGINE, *arguments], check=True, capture_output=True)


def at(text):
    return datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


def started(container):
    return at(docker("inspect", "-f", "{{.State.StartedAt}}", container))


class Log:
    """The audit log from now on, also across rotation: a file is read to its end before the next."""

    def __init__(self):
        self.entries = []
        self.file = open(AUDIT)
        self.file.seek(0, os.SEEK_END)
        self.rest = ""

    def look(self):
        while True:
            self.rest += self.file.read()
            *lines, self.rest = self.rest.split("\n")
            self.entries += [json.loads(line) for line in lines if line]
            if os.stat(AUDIT).st_ino == os.fstat(self.file.fileno()).st_ino:
                return self.entries
            self.file, self.rest = open(AUDIT), ""

    def found(self, container, since):
        """When it was recorded that this container runs unapproved."""
        until = time.time() + PATIENCE
        while time.time() < until:
            for entry in self.look():
                when = at(entry["timestamp"])
                if entry["event"] == "UNAPPROVED" and entry.get("container_id") == container and when >= since:
                    return when
            time.sleep(0.05)
        return None


class Churn:
    def __init__(self):
        self.log = Log()
        self.names = 0
        # Approved containers by id: whether each should run.
        self.approved = {}
        # How long it took until each unapproved one was found, by how it came to run.
        self.took = {}
        self.done = {}
        self.listed = json.load(open(ALLOWLIST))
        self.list([APP])
        time.sleep(2)
        for _ in range(APPROVED):
            self.create(is_lasting=True)

    def name(self):
        self.names += 1
        return f"churn-{self.names}"

    def list(self, tags):
        """Puts an allowlist with these tags in force, as any program writes it."""
        kept = [entry for entry in self.listed["entries"] if set(tags) & set(entry["references"])]
        with open(ALLOWLIST + ".new", "w") as new:
            json.dump({**self.listed, "entries": kept}, new)
        os.chmod(ALLOWLIST + ".new", 0o644)
        os.rename(ALLOWLIST + ".new", ALLOWLIST)

    # --- What is done to approved ones ---

    def create(self, is_lasting=False):
        # One that ends by itself is started again by the engine, again and again.
        command = ["sleep", "3600"] if is_lasting or chance.random() < 0.7 else ["sleep", str(chance.randint(1, 5))]
        container = docker("run", "-d", "--name", self.name(), "--network", "none", "--stop-timeout", "1", "--restart", "always",
                           APP, *command)
        if container:
            self.approved[container] = True

    def one(self, runs=None):
        fit = [container for container, should in self.approved.items() if runs is None or should == runs]
        return chance.choice(fit) if fit else None

    def stop(self):
        container = self.one(runs=True)
        if container and sum(self.approved.values()) > APPROVED - 2:
            docker(chance.choice(["stop", "kill"]), container, may_fail=True)
            # One that was between two runs when it was killed is started again.
            docker("stop", container, may_fail=True)
            self.approved[container] = False

    def start(self):
        container = self.one(runs=False)
        if container:
            docker("start", container)
            self.approved[container] = True

    def restart(self):
        container = self.one()
        if container:
            docker("restart", "-t", "1", container)
            self.approved[container] = True

    def rename(self):
        container = self.one()
        if container:
            # 20.10 loses the network's part of a container, now and then, when it restarts.
            docker("rename", container, self.name(), unless="Error response from daemon: sandbox ")

    def remove(self):
        if len(self.approved) > APPROVED + 4:
            container = self.one()
            docker("rm", "-f", container)
            del self.approved[container]

    def tag(self):
        # A name on the host is no evidence of anything.
        docker("tag", chance.choice([APP, TOOL]), chance.choice(["churn.test/other:1", "registry.test:5000/app:other"]))

    # --- What is not approved ---

    def past(self):
        """One that is started while nobody is asked."""
        engine("gate", "none")
        container = docker("run", "-d", "--name", self.name(), "--network", "none", "--stop-timeout", "1", TOOL, "sleep", "3600")
        since = started(container)
        engine("gate", PLUGIN)
        self.expect("started past the gate", container, since)
        docker("rm", "-f", container)

    def withdrawn(self):
        """One whose approval is taken back while it runs."""
        self.list([APP, TOOL])
        time.sleep(1.5)
        container = docker("run", "-d", "--name", self.name(), "--network", "none", "--stop-timeout", "1", TOOL, "sleep", "3600")
        time.sleep(1)
        since = time.time()
        self.list([APP])
        self.expect("approval taken back", container, since)
        docker("rm", "-f", container)

    def engine_restart(self):
        """All are started by their policy, one that is not approved among them."""
        engine("gate", "none")
        container = docker("run", "-d", "--name", self.name(), "--network", "none", "--stop-timeout", "1", "--restart", "always",
                           TOOL, "sleep", "3600")
        engine("gate", PLUGIN)
        self.expect("started past the gate", container, started(container))
        engine("restart")
        # What was stopped is started by `always`, too.
        self.approved = dict.fromkeys(self.approved, True)
        until = time.time() + 20
        since = 0
        while not since and time.time() < until:
            if docker("inspect", "-f", "{{.State.StartedAt}}", container) and started(container) > 0:
                since = started(container)
        self.expect("restarted with the engine", container, since)
        docker("rm", "-f", container)

    def expect(self, how, container, since):
        found = self.log.found(container, since)
        if found is None:
            faults.append(f"{how}: {container} was never found")
        else:
            self.took.setdefault(how, []).append(found - since)
            if found - since > FOUND_WITHIN:
                faults.append(f"{how}: {container} was found after {found - since:.2f} s")
            if chance.random() < 0.3:
                time.sleep(LEFT)

    # --- What must hold ---

    def hold(self):
        for entry in self.log.look():
            if entry["event"] in TOUCHED and entry.get("container_id") in self.seen:
                faults.append(f"an approved container was touched: {json.dumps(entry)}")
        running = set(docker("ps", "-q", "--no-trunc").split())
        for container, should in self.approved.items():
            # One that ends by itself may be between two runs.
            if should and container not in running:
                status = docker("inspect", "-f", "{{.State.Status}} {{.State.Restarting}} {{.RestartCount}}", container)
                if status.startswith("exited") and not self.is_short(container):
                    faults.append(f"an approved container does not run: {container} {status}")

    def is_short(self, container):
        return docker("inspect", "-f", "{{join .Config.Cmd \" \"}}", container) != "sleep 3600"

    def run(self):
        self.seen = set(self.approved)
        end, last_restart, last_other = time.time() + SECONDS, time.time(), time.time()
        ways = [(self.create, 4), (self.stop, 3), (self.start, 5), (self.restart, 3), (self.rename, 2), (self.remove, 5), (self.tag, 2)]
        while time.time() < end and len(faults) < 5:
            # Under twenty findings a minute, each has an entry of its own.
            if time.time() - last_restart > 45:
                way, last_restart = self.engine_restart, time.time()
            elif time.time() - last_other > 5:
                way, last_other = chance.choice([self.past, self.withdrawn]), time.time()
            else:
                way = chance.choices(*zip(*ways))[0]
            way()
            self.seen |= set(self.approved)
            self.done[way.__name__] = self.done.get(way.__name__, 0) + 1
        self.hold()
        for container in self.approved:
            docker("rm", "-f", container)
        docker("rmi", "churn.test/other:1", "registry.test:5000/app:other", may_fail=True)


print(f"seed {seed}")
churn = Churn()
churn.run()
print("done:", ", ".join(f"{count} {what}" for what, count in sorted(churn.done.items())))
print(f"{len(churn.seen)} approved containers")
for how, took in sorted(churn.took.items()):
    took.sort()
    print(f"{how}: found {len(took)} times, after {took[len(took) // 2]:.2f} s (median), {took[-1]:.2f} s (most)")
held = {}
for entry in churn.log.look():
    held[entry["event"]] = held.get(entry["event"], 0) + 1
print("on record:", ", ".join(f"{count} {event}" for event, count in sorted(held.items())))
for fault in faults:
    print("FAULT", fault)
sys.exit(1 if faults else 0)
