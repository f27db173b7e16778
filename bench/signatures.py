"""Publishes the images of bench/signatures.sh, and measures; not for use by itself."""
import base64
import contextlib
import hashlib
import json
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../test/rig"))
import unix_http

KINDS = "legacy", "bundle", "notation"
IMAGES = int(os.environ.get("BENCH_IMAGES", "64"))
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def image(name):
    """Its layer, configuration and manifest."""
    layer = b"layer of " + name.encode()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": {"name": name}},
                         "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": len(layer)}]}).encode()
    return layer, config, manifest


def publish(folder, host):
    context = ssl.create_default_context(cafile=f"{folder}/ca.crt")

    def put(url, content, kind, method="PUT"):
        request = urllib.request.Request(url, content, {"Content-Type": kind}, method=method)
        return urllib.request.urlopen(request, context=context).headers

    for kind in KINDS:
        with open(f"{folder}/{kind}.list", "w") as listed:
            for index in range(IMAGES):
                name = f"bench/{kind}{index}"
                layer, config, manifest = image(name)
                for blob in layer, config:
                    start = f"https://{host}/v2/{name}/blobs/uploads/"
                    where = urllib.parse.urljoin(start, put(start, b"", "application/octet-stream", "POST")["Location"])
                    put(f"{where}{'&' if '?' in where else '?'}digest={urllib.parse.quote(digest(blob))}", blob, "application/octet-stream")
                put(f"https://{host}/v2/{name}/manifests/latest", manifest, MANIFEST)
                listed.write(f"{host}/{name}@{digest(manifest)}\n")


def approve(folder):
    entries = [{"digest": digest(image(f"bench/{kind}{index}")[2])} for kind in KINDS for index in range(IMAGES)]
    json.dump({"version": 1, "entries": entries}, open(f"{folder}/listed/list.json", "w"))


class Engine(unix_http.Handler):
    """As much of an engine as a create asks for: the image `bundle0`."""

    def do_GET(self):
        name = "bench/bundle0"
        _, config, manifest = image(name)
        answer = {"Id": digest(config), "RepoTags": [], "RepoDigests": [f"{self.server.host}/{name}@{digest(manifest)}"], "Os": "linux",
                  "Architecture": "amd64", "Config": {}, "RootFS": {"Layers": []}, "GraphDriver": {"Name": "overlay2", "Data": {"x": "y"}}}
        if "/images/" not in self.path:
            answer = {"Version": "28.5.2", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}
        body = json.dumps(answer).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def cpu(pid):
    """CPU milliseconds of the threads that live, to the nanosecond."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
    return total / 1e6


def peak(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM")) / 1024


class Bench:
    def __init__(self, folder, host, runs, registry, gate, cosign, notation):
        self.folder, self.host, self.runs, self.registry = folder, host, int(runs), int(registry)
        self.gate, self.cosign, self.notation = gate, cosign, notation
        self.log = f"{folder}/registry.log"

    def requests(self):
        time.sleep(0.2)
        return sum("GET /v2/" in line or "HEAD /v2/" in line for line in open(self.log))

    def commands(self, kind):
        image = f"{self.host}/bench/{kind}0:latest"
        ours = [self.gate, "trust", "verify", image, "--policy", f"{self.folder}/{kind}/policy.toml", "--state", f"{self.folder}/cold", "--json"]
        if kind == "notation":
            return [self.notation, "verify", image], ours
        form = [f"--new-bundle-format={'true' if kind == 'bundle' else 'false'}"]
        return [self.cosign, "verify", "--key", f"{self.folder}/cosign.pub", "--insecure-ignore-tlog", *form, image], ours

    def once(self, command, kind):
        shutil.rmtree(f"{self.folder}/cold", ignore_errors=True)
        with open(f"{self.folder}/said", "w") as said:
            into = [(os.POSIX_SPAWN_DUP2, said.fileno(), 1), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)]
            # Not by `subprocess`: what that does in the child before the program begins would count as the program's.
            start = time.perf_counter()
            child = os.posix_spawn(command[0], command, {**os.environ, "CONFIG_DIR": f"{self.folder}/{kind}"}, file_actions=into)
            _, status, used = os.wait4(child, 0)
            wall = time.perf_counter() - start
        assert status == 0, (command, open(f"{self.folder}/said").read())
        return wall * 1e3, (used.ru_utime + used.ru_stime) * 1e3

    def beside(self, kind):
        theirs, ours = self.commands(kind)
        counts = []
        for command in theirs, ours:
            before = self.requests()
            self.once(command, kind)
            counts.append(self.requests() - before)
        times = [], []
        # Taken in turn, so that a busy machine is busy for both.
        for _ in range(self.runs):
            for command, taken in zip((theirs, ours), times):
                taken.append(self.once(command, kind))
        tool, gate = ([statistics.median(column) for column in zip(*taken)] for taken in times)
        print(f"{kind:9} cold: {os.path.basename(theirs[0]):8} wall {tool[0]:7.1f} cpu {tool[1]:7.1f} ms, {counts[0]} requests;  img-authz wall "
              f"{gate[0]:6.1f} cpu {gate[1]:6.1f} ms, {counts[1]} requests;  ratio wall {gate[0] / tool[0]:.3f} cpu {gate[1] / tool[1]:.3f}", flush=True)

    @contextlib.contextmanager
    def serving(self, kind, name, engine="unix:///nowhere.sock"):
        state, path = f"{self.folder}/{name}.state", f"{self.folder}/{name}.sock"
        settings = {"PATH": os.environ["PATH"], "POLICY": f"{self.folder}/{kind}/policy.toml", "CONFIG_DIR": f"{self.folder}/{kind}", "STATE_DIR": state,
                    "DOCKER_HOST": engine, "LOG": "error", "MONITOR": "off"}
        with open(f"{self.folder}/{name}.log", "w") as log:
            gate = subprocess.Popen([self.gate, "serve", "--socket", path], env=settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while True:
                with contextlib.suppress(OSError):
                    if b" 200 " in self.post(path, b"POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"):
                        break
                time.sleep(0.1)
            time.sleep(1)
            yield path, gate.pid
        finally:
            gate.terminate()
            gate.wait()
            shutil.rmtree(state, ignore_errors=True)

    @staticmethod
    def post(path, said):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(said)
            answer = b""
            while b"}" not in answer:
                part = connection.recv(4096)
                if not part:
                    break
                answer += part
            return answer

    @staticmethod
    def call(method, uri, headers, body=b""):
        said = {"RequestMethod": method, "RequestUri": uri, "RequestHeaders": headers}
        if body:
            said["RequestBody"] = base64.b64encode(body).decode()
        return json.dumps(said).encode()

    def asked(self, body):
        return b"POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def first(self, kind, at_once):
        found = []
        for turn in range(3):
            with self.serving(kind, f"{kind}{turn}") as (path, pid):
                said = [self.asked(self.call("POST", f"/v1.43/images/create?fromImage={self.host}/bench/{kind}{index}&tag=latest",
                                             {"Content-Length": "0"})) for index in range(IMAGES)]
                no = []

                def ask(part):
                    for body in part:
                        answer = self.post(path, body)
                        if b'"Allow":true' not in answer:
                            no.append(answer)

                parts = [said[index::at_once] for index in range(at_once)]
                threads = [threading.Thread(target=ask, args=(part,)) for part in parts]
                before, requests, begun = (cpu(pid), cpu(self.registry)), self.requests(), time.perf_counter()
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                took = time.perf_counter() - begun
                after = cpu(pid), cpu(self.registry)
                assert not no, (len(no), no[0])
                found.append((IMAGES / took, (after[0] - before[0]) / IMAGES, (after[1] - before[1]) / IMAGES,
                              (self.requests() - requests) / IMAGES, peak(pid)))
        rate, ours, theirs, requests, memory = (statistics.median(column) for column in zip(*found))
        print(f"{kind:9} first pulls, {at_once:2} at once: {rate:6.0f}/s  cpu gate {ours:.2f} registry {theirs:.2f} ms, {requests:.1f} requests each, "
              f"peak {memory:.1f} MB", flush=True)

    def known(self):
        """A create of what was verified before, signed and listed, in turn."""
        name = "bench/bundle0"
        manifest = digest(image(name)[2])
        body = json.dumps({"Image": f"{self.host}/{name}@{manifest}", "HostConfig": {"NetworkMode": "none"}}).encode()
        path = f"{self.folder}/create.call"
        open(path, "wb").write(self.call("POST", "/v1.43/containers/create", {"Content-Type": "application/json"}, body))
        engine = unix_http.Server(f"{self.folder}/engine.sock", Engine)
        engine.host = self.host
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        at = f"unix://{self.folder}/engine.sock"
        costs = {"bundle": [], "listed": []}
        with self.serving("bundle", "known", at) as signed, self.serving("listed", "list", at) as listed:
            for turn in range(6):
                for kind, (socket_path, pid) in ("bundle", signed), ("listed", listed):
                    before = cpu(pid)
                    output = subprocess.run([f"{self.folder}/load", socket_path, "2", "1", "0", path], capture_output=True, check=True).stdout
                    told = json.loads(output)
                    assert told["allowed"] == told["posts"], (kind, told, self.post(socket_path, self.asked(open(path, "rb").read())))
                    # The first warms it up.
                    if turn:
                        costs[kind].append((cpu(pid) - before) * 1e3 / told["posts"])
        signed, listed = (statistics.median(costs[kind]) for kind in ("bundle", "listed"))
        print(f"create of what was verified before: {signed:.1f} us of CPU, of what is listed {listed:.1f} us: the signature costs {signed - listed:+.1f} us")

    def measure(self):
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        for kind in KINDS:
            self.beside(kind)
        for kind in KINDS:
            self.first(kind, IMAGES)
            self.first(kind, 1)
        self.known()


match sys.argv[1]:
    case "publish":
        publish(*sys.argv[2:])
    case "list":
        approve(*sys.argv[2:])
    case "measure":
        Bench(*sys.argv[2:]).measure()
