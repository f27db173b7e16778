#!/usr/bin/env python3
"""The page in a real browser: page.py PROGRAM [FOLDER]

Starts PROGRAM (img-authz) beside an engine made up here, whose images and containers have hostile names, and reads the page in Chromium over
WebDriver: the login, each section, light and dark, by keyboard alone. No section may say anything to the console, run a script, or ask
another server. With FOLDER, screenshots are put there; with AXE (a path of axe.min.js, npm: axe-core) it judges contrast and structure.
Needs the Debian packages chromium and chromium-driver."""
import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "rig"))
import unix_http

HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(1)</script>"
SECTIONS = ["/", "/events", "/live", "/images", "/containers", "/trust", "/policy"]


def hexes(name):
    import hashlib
    return hashlib.sha256(name.encode()).hexdigest()


# Name, and whether it is approved.
IMAGES = [("registry.example/shop/web:2.4", True), ("registry.example/shop/api:1.9", True), ("registry.example/shop/worker:1.9", True),
          ("registry.example/base/debian:12", True), ("registry.example/shop/legacy:0.3", False), ("elsewhere.example/miner:latest", False)]
# Name, image, whether it runs.
CONTAINERS = [("web-1", 0, True), ("web-2", 0, True), ("api", 1, True), ("legacy", 4, True), ("migration", 2, False), ("miner", 5, False),
              (HOSTILE, 5, False)]


def image(number):
    name, _ = IMAGES[number]
    id = "sha256:" + hexes(name)
    return {"Id": id, "RepoTags": [name], "RepoDigests": [], "Os": "linux", "Architecture": "amd64", "Config": {},
            "RootFS": {"Layers": []}, "GraphDriver": {"Name": "overlay2", "Data": {"x": "y"}}}


def container(number):
    name, of, runs = CONTAINERS[number]
    return {"Id": hexes(name), "Name": "/" + name, "Image": image(of)["Id"], "Config": {"Image": IMAGES[of][0]}, "HostConfig": {},
            "State": {"Running": runs, "StartedAt": "2026-01-01T00:00:00Z"}}


def listed(number):
    full, runs = container(number), CONTAINERS[number][2]
    return {"Id": full["Id"], "Names": [full["Name"]], "Image": full["Config"]["Image"], "ImageID": full["Image"],
            "State": "running" if runs else "exited", "Status": "Up 3 hours" if runs else "Exited (0) 2 days ago", "Labels": {}}


class Engine(unix_http.Handler):
    """As much of an engine as the gate asks for."""

    def do_GET(self):
        path = re.sub(r"^/v[0-9.]+", "", self.path.split("?")[0])
        images, containers = range(len(IMAGES)), range(len(CONTAINERS))
        if path == "/events":
            self.send_response(200)
            self.end_headers()
            time.sleep(60)
            return
        if path == "/version":
            answer = {"Version": "28.5.2", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}
        elif path == "/info":
            answer = {"ID": "x", "Name": "host", "ServerVersion": "28.5.2", "DriverStatus": [], "DockerRootDir": "/x", "CgroupVersion": "2"}
        elif path == "/images/json":
            answer = [{key: image(n)[key] for key in ("Id", "RepoTags", "RepoDigests")} for n in images]
        elif path == "/containers/json":
            answer = [listed(n) for n in containers if "all=1" in self.path or CONTAINERS[n][2]]
        elif path == "/plugins":
            answer = []
        else:
            name = re.sub(r"^/(images|containers)/|/json$", "", path)
            name = urllib.request.unquote(name)
            known = [image(n) for n in images if name in (IMAGES[n][0], image(n)["Id"])] if path.startswith("/images/") else \
                [container(n) for n in containers if name in (CONTAINERS[n][0], container(n)["Id"])]
            answer = known[0] if known else None
        if answer is None:
            self.answer({"message": "no such thing"}, 404)
        else:
            self.answer(answer)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(url, value):
    request = urllib.request.Request(url, json.dumps(value).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))["value"]


class Browser:
    """A session of WebDriver."""

    def __init__(self, url):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1180,860", "--force-device-scale-factor=1"]
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": flags, "binary": shutil.which("chromium")},
                  "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.url = url + "/session/" + post(url + "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def do(self, what, **value):
        return post(self.url + what, value)

    def get(self, what):
        return json.load(urllib.request.urlopen(self.url + what, timeout=60))["value"]

    def script(self, text):
        return self.do("/execute/sync", script=text, args=[])

    def type(self, *keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.do("/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def console(self):
        return [entry["message"] for entry in self.do("/se/log", type="browser")]

    def prefers(self, scheme):
        self.do("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia",
                params={"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def shot(self, path):
        open(path, "wb").write(base64.b64decode(self.get("/screenshot")))


def wait(what, seconds=20):
    until = time.time() + seconds
    while True:
        try:
            found = what()
            if found:
                return found
        except (OSError, urllib.error.URLError):
            pass
        assert time.time() < until, "waited in vain"
        time.sleep(0.2)


def files(folder):
    config = os.path.join(folder, "config")
    os.mkdir(config)
    os.mkdir(os.path.join(folder, "state"))
    entries = [{"image_id": "sha256:" + hexes(name), "references": [name], "reason": "reviewed"} for name, good in IMAGES if good]
    # A reviewer writes what he likes.
    entries[0]["reason"] = HOSTILE
    with open(os.path.join(config, "approved.json"), "w") as file:
        json.dump({"version": 1, "entries": entries}, file)
    with open(os.path.join(config, "policy.toml"), "w") as file:
        file.write("# What may run in the shop. Owner: platform@registry.example\nversion = 1\n\n[verifiers.reviewed]\ntype = \"allowlist\"\nfile = \"approved.json\"\n\n"
                   "[[scope]]\nname = \"shop\"\nmatch = [\"registry.example/shop/*\", \"registry.example/base/*\"]\nrequire = \"reviewed\"\n"
                   "[scope.rules]\ntag-latest = \"deny\"\n\n[[exception]]\nmatch = \"registry.example/shop/legacy\"\nlift = [\"tag-latest\"]\n"
                   f"owner = \"alice\"\nreason = \"the new build is late\"\nticket = \"OPS-1234\"\nexpires = {time.strftime('%Y-%m-%dT00:00:00Z', time.gmtime(time.time() + 5 * 86400))}\n")
    return config


def calls(socket_path):
    """What dockerd would post: some calls pass, some do not, so that there is something on record."""
    def call(method, uri, body=None):
        asked = {"RequestMethod": method, "RequestUri": uri, "RequestHeaders": {"Content-Type": "application/json"}}
        if body is not None:
            asked["RequestBody"] = base64.b64encode(json.dumps(body).encode()).decode()
        else:
            asked["RequestHeaders"] = {"Content-Length": "0"}
        text = json.dumps(asked).encode()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(20)
            peer.connect(socket_path)
            peer.sendall(b"POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            while peer.recv(4096):
                pass
    for _ in range(12):
        call("GET", "/v1.51/containers/json")
    for image in ("registry.example/shop/web:2.4", "registry.example/shop/api:1.9"):
        call("POST", "/v1.51/containers/create?name=new", {"Image": image})
    call("POST", "/v1.51/images/create?fromImage=elsewhere.example%2Fminer&tag=latest")
    call("POST", f"/v1.51/containers/{hexes('legacy')}/start")
    call("POST", "/v1.51/images/create?fromImage=" + urllib.request.quote(HOSTILE, safe="") + "&tag=1")


def test(program, shots):
    folder = tempfile.mkdtemp()
    port, driver_port = free_port(), free_port()
    page = f"http://127.0.0.1:{port}"
    engine = unix_http.Server(os.path.join(folder, "docker.sock"), Engine)
    threading.Thread(target=engine.serve_forever, daemon=True).start()
    config = files(folder)
    state, plugin = os.path.join(folder, "state"), os.path.join(folder, "gate.sock")
    env = {"PATH": os.environ["PATH"], "STATE_DIR": state, "CONFIG_DIR": config, "DOCKER_HOST": f"unix://{folder}/docker.sock",
           "WEB": f"127.0.0.1:{port}", "LOG": "error"}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, True)
        gate = subprocess.Popen([program, "serve", "--socket", plugin], env=env)
        stack.callback(gate.wait, 20)
        stack.callback(gate.terminate)
        wait(lambda: os.path.exists(os.path.join(state, "web-token")) and socket.create_connection(("127.0.0.1", port)).close() is None)
        token = open(os.path.join(state, "web-token")).read().strip()
        calls(plugin)
        driver = subprocess.Popen(["chromedriver", f"--port={driver_port}", "--silent"])
        stack.callback(driver.wait, 20)
        stack.callback(driver.terminate)
        wait(lambda: urllib.request.urlopen(f"http://127.0.0.1:{driver_port}/status"))
        browser = Browser(f"http://127.0.0.1:{driver_port}")
        stack.callback(lambda: urllib.request.urlopen(urllib.request.Request(browser.url, method="DELETE")))

        # Nobody gets in without; the token is typed and sent by keyboard.
        browser.do("/url", url=page + "/images")
        assert "Token" in browser.script("return document.body.innerText") and IMAGES[0][0] not in browser.script("return document.body.innerText")
        if shots:
            browser.shot(os.path.join(shots, "status-login.png"))
        browser.type("\ue004", *"wrong", "\ue007")
        wait(lambda: "This is not the token." in browser.script("return document.body.innerText"))
        browser.script("document.getElementById('token').value = ''")
        browser.type("\ue004", *token, "\ue007")
        wait(lambda: browser.get("/title").startswith("Overview"))
        assert token not in browser.get("/url") and browser.script("return document.cookie") == "", "the cookie is not for scripts"
        # The first answer to a login is the form: 401, which the browser says.
        said = browser.console()
        assert all("401" in message for message in said), said
        # The monitor looks twice before it says so.
        wait(lambda: browser.do("/url", url=page) or "Running unapproved\n1" in browser.script("return document.body.innerText"))

        for path in SECTIONS:
            browser.do("/url", url=page + path)
            text = browser.script("return document.body.innerText")
            assert browser.script("return document.querySelectorAll('script, main img, iframe').length") == 0, path
            assert browser.script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{path} is too wide"
            if path in ("/events", "/containers"):
                assert "<script>alert(1)</script>" in text, f"{path} shows what others wrote, as text"
            browser.script("document.querySelectorAll('details').forEach(one => one.open = true)")
            for scheme in ("light", "dark"):
                browser.prefers(scheme)
                if "AXE" in os.environ:
                    judged(browser, path, scheme)
                if shots and path in ("/", "/images", "/policy"):
                    browser.script("document.querySelectorAll('details').forEach((one, at) => one.open = at == 1)")
                    browser.shot(os.path.join(shots, f"status{'-' + path[1:] if path != '/' else ''}-{scheme}.png"))
            assert browser.console() == [], path
        # By keyboard: the first stop skips the bar, and every section can be reached.
        browser.do("/url", url=page + "/images")
        stops = []
        for _ in range(12):
            browser.type("\ue004")
            stops.append(browser.script("return document.activeElement.innerText.split('\\n')[0]"))
        assert stops[0] == "Skip to content" and [s for s in stops if s in ("Overview", "Trust", "Policy")], stops
        browser.type("\ue007")
        assert browser.script("return document.querySelectorAll('details[open]').length") > 0, f"what is folded opens by keyboard {stops}"
        # A telephone.
        browser.do("/goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride",
                   params={"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True})
        for path in SECTIONS:
            browser.do("/url", url=page + path)
            assert browser.script("return document.documentElement.scrollWidth <= 390"), f"{path} is too wide for a telephone"
        asked = {json.loads(entry["message"])["message"].get("params", {}).get("request", {}).get("url", page)
                 for entry in browser.do("/se/log", type="performance")}
        assert all(url.startswith((page, "data:")) for url in asked), asked
        print("the page: good")


def judged(browser, path, scheme):
    """What axe finds (WCAG 2 A and AA, and its best practices). Its script comes by the driver, beside the page's own rules."""
    browser.script(open(os.environ["AXE"]).read() + "; window.axe = axe")
    passed, found = browser.do("/execute/async", args=[], script="const done = arguments[0]; axe.run().then(r => done([r.passes.map(p => p.id), "
                               "r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.target.join(' ')).slice(0, 4).join(' | '))]))")
    assert not found, f"{path}, {scheme}: {found}"
    assert {"color-contrast", "landmark-one-main", "heading-order", "document-title"} <= set(passed), passed


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    test(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
