"""Measures the gates that bench/gate.sh started; not for use by itself."""
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys

folder, seconds, server, online, window, registry, gate, url = sys.argv[1:]
seconds = float(seconds)


def cpu(pid):
    """CPU seconds of all threads, those that ended included."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM")) / 1024


def call(name, method, uri, headers):
    path = f"{folder}/{name}.call"
    json.dump({"RequestMethod": method, "RequestUri": uri, "RequestHeaders": headers}, open(path, "w"))
    return path


def pull(repository, tag="t1"):
    uri = f"/v1.43/images/create?fromImage={registry}/bench/{repository}&tag={tag}"
    return call(f"pull-{repository}", "POST", uri, {"Content-Length": "0"})


ps = call("ps", "GET", "/v1.43/containers/json", {})


def load(name, bodies, connections, time=seconds, pause=0):
    command = [f"{folder}/load", f"{folder}/{name}.sock", str(time), str(connections), str(pause), *bodies]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def measure(what, name, pid, bodies, connections, beside=None, expect=True):
    """One line of the table: rates, latencies, and CPU of the gate and of the server for each post."""
    before = cpu(pid), cpu(server)
    running = load(name, bodies, connections)
    other = load(name, [ps], 1, pause=1000) if beside else None
    found = json.loads(running.communicate()[0])
    beside_found = json.loads(other.communicate()[0]) if other else None
    after = cpu(pid), cpu(server)
    posts = found["posts"] + (beside_found["posts"] if beside_found else 0)
    ours, theirs = ((after[i] - before[i]) * 1e6 / posts for i in (0, 1))
    if expect and found["allowed"] != found["posts"]:
        print(f"{what}: {found['posts'] - found['allowed']} of {found['posts']} refused", flush=True)
    print(f"{what:44} {found['per_second']:8.0f}/s  p50 {found['p50']:7} p99 {found['p99']:7} us  "
          f"cpu gate {ours:7.1f} server {theirs:7.1f} us" + (f"  ps p99 {beside_found['p99']} us" if beside_found else ""),
          flush=True)
    return ours, found, beside_found


few, many, all64 = pull("few"), pull("many"), [pull(f"one{index}") for index in range(1, 65)]
for name in "online", "window":  # every repository known, every connection open
    for bodies in [few], [many], all64:
        load(name, bodies, 64, 2).wait()

print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; times in microseconds")
floor, _, _ = measure("ps, 1 connection", "window", window, [ps], 1)
measure("inside the window, 2 tags, 1 connection", "window", window, [few], 1)
measure("inside the window, 1000 tags, 1 connection", "window", window, [many], 1)
measure("inside the window, 64 connections", "window", window, all64, 64)
alone, _, _ = measure("timestamp online, 2 tags, 1 connection", "online", online, [few], 1)
thousand, _, _ = measure("timestamp online, 1000 tags, 1 connection", "online", online, [many], 1)
_, idle, _ = measure("ps at 1000/s, idle", "online", online, [ps], 1)
idle = json.loads(load("online", [ps], 1, pause=1000).communicate()[0])
_, _, one = measure("timestamp online, 1 repository, 64 at once", "online", online, [few], 64, beside=True)
_, _, sixty = measure("timestamp online, 64 repositories at once", "online", online, all64, 64, beside=True)
print(f"ps p99: idle {idle['p99']}, beside one repository {one['p99']}, beside 64 {sixty['p99']} us")
print(f"1000 tags cost {thousand / alone:.2f} of 2 tags")
print(f"memory at peak: online {peak(online):.1f} MB, window {peak(window):.1f} MB")

# The Go client on the same server, warm, process start and handshake included; the gate's decision beside it.
command = ["notary", "-c", f"{folder}/client.json", "-d", f"{folder}/reader", "lookup", f"{registry}/bench/few", "t1"]
times = []
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    times.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e6)
lookup = statistics.median(times[1:])
print(f"warm notary lookup: {lookup:.0f} us of CPU; a pull checked online costs {alone / lookup:.3f} of it")
shutil.rmtree(f"{folder}/reader", ignore_errors=True)
