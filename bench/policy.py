"""Writes the policies of bench/policy.sh and measures the gates with them; not for use by itself."""
import base64
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
ROUNDS = 5
# Twenty lines, as a site would write them.
REGO = """package docker.authz

default allow := false

allow if {
	not privileged
	not outside
}

privileged if input.Body.HostConfig.Privileged == true

privileged if "ALL" in input.Body.HostConfig.CapAdd

outside if {
	some mount in input.BindMounts
	not startswith(mount.Source, "/srv/")
}

deny contains "privileged containers are not allowed" if privileged

deny contains "mounts are allowed below /srv only" if outside
"""


def digest(number):
    return "sha256:" + hashlib.sha256(str(number).encode()).hexdigest()


def write(name, scopes, digests, more=""):
    """A policy of so many scopes with an allowlist of so many digests; the image that is pulled is in the last of each."""
    place = folder / name
    (place / "state").mkdir(parents=True)
    text = "version = 1\n" + more + '[verifiers.listed]\ntype = "allowlist"\nfile = "allowlist.json"\n'
    text += "".join(f'[[scope]]\nmatch = "registry.example/team{index}/**"\nrequire = "listed"\n' for index in range(scopes))
    (place / "policy.toml").write_text(text)
    entries = [{"digest": digest(index), "references": [f"registry.example/team{scopes - 1}/app:{index}"]} for index in range(digests)]
    (place / "allowlist.json").write_text(json.dumps({"version": 1, "entries": entries}))
    uri = f"/v1.43/images/create?fromImage=registry.example%2Fteam{scopes - 1}%2Fapp%40{digest(digests - 1).replace(':', '%3A')}"
    call = {"RequestMethod": "POST", "RequestUri": uri, "RequestHeaders": {"Content-Length": "0"}}
    (folder / f"{name}.call").write_text(json.dumps(call))
    return len(text)


def cpu(pid):
    """CPU seconds of all threads, those that ended included."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(name, pid, call, seconds):
    """CPU of the gate for each post, and the median latency, microseconds."""
    before = cpu(pid)
    said = subprocess.run([f"{folder}/load", f"{folder}/{name}.sock", seconds, "1", "0", f"{folder}/{call}.call"],
                          capture_output=True, check=True, text=True).stdout
    found = json.loads(said)
    if found["allowed"] != found["posts"]:
        sys.exit(f"{name}: {found['posts'] - found['allowed']} of {found['posts']} refused: the figures are not of the same decision")
    return (cpu(pid) - before) * 1e6 / found["posts"], found["p50"]


def versus(what, one, other, rounds):
    """Both, in turns; the medians."""
    found = {name: [] for name in (one[0], other[0])}
    for number in range(rounds):
        for name, *rest in (one, other) if number % 2 == 0 else (other, one):
            found[name].append(load(name, *rest))
    (a, a50), (b, b50) = ([statistics.median(column) for column in zip(*found[name])] for name in (one[0], other[0]))
    print(f"{what}: {a:.1f} and {b:.1f} us of CPU (p50 {a50:.0f} and {b50:.0f} us): {b / a:.2f} times, {b - a:.1f} us more", flush=True)


if verb == "write":
    write("small", 1, 1)
    write("large", 1_000, 10_000)
    write("ruled", 1, 1, '[rego]\nfiles = ["authz.rego"]\n')
    (folder / "ruled/authz.rego").write_text(REGO)
    # A rule that reads the clock: each call is asked about anew.
    write("anew", 1, 1, '[rego]\nfiles = ["authz.rego"]\n')
    (folder / "anew/authz.rego").write_text(REGO + "\ndeny contains \"never\" if time.now_ns() < 0\n")
    write("many", 10_000, 1)
    body = {"HostConfig": {"Privileged": False, "CapAdd": ["NET_RAW"], "Binds": ["/srv/app:/app"]}}
    call = {"RequestMethod": "POST", "RequestUri": "/v1.43/containers/web/stop", "RequestHeaders": {"Content-Type": "application/json"},
            "RequestBody": base64.b64encode(json.dumps(body).encode()).decode()}
    (folder / "stop.call").write_text(json.dumps(call))
else:
    seconds, gate = sys.argv[3:5]
    pids = dict(pair.split("=") for pair in sys.argv[5:])
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    times = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        subprocess.run([gate, "policy", "check", f"{folder}/many/policy.toml"], check=True, capture_output=True)
        times.append(time.monotonic() - began)
    size = (folder / "many/policy.toml").stat().st_size
    print(f"policy check of 10,000 scopes, {size} bytes: median {statistics.median(times):.3f} s, most {max(times):.3f} s", flush=True)
    versus("a pull over 1 scope and 1 digest, over 1,000 and 10,000",
           ("small", pids["small"], "small", seconds), ("large", pids["large"], "large", seconds), ROUNDS)
    for what, name in ("seen before", "ruled"), ("asked about anew", "anew"):
        versus(f"a stop without and with rules in Rego, {what}",
               ("small", pids["small"], "stop", seconds), (name, pids[name], "stop", seconds), ROUNDS)
