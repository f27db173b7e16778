"""What people do with docker-py, on an engine with the gate in force. Ends with 0 if all of it went as said here.

docker_py.py images|lockdown
docker_py.py again              makes a container anew from what the engine shows of it, as Watchtower does
"""
import io
import sys
import tarfile

import docker
from docker.errors import DockerException

APP = "registry.test:5000/app:1.0"
posture = sys.argv[1]
client = docker.from_env()


def refused(code, call, *arguments, **named):
    """The call is refused with this code, and the exception says so."""
    try:
        made = call(*arguments, **named)
        # Some answers are read as they come.
        [None for _ in made]
    except (DockerException, TypeError) as error:
        assert f": {code}: " in str(error), f"{code} is not in: {error}"
        print("refused", str(error).split(": ", 2)[-1])
        return
    raise AssertionError(f"not refused with {code}: {call.__qualname__} {arguments} {named}")


def either(code, call, *arguments, **named):
    """Refused in lockdown alone."""
    if posture == "lockdown":
        return refused(code, call, *arguments, **named)
    return call(*arguments, **named)


def archive(name, text):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return held.getvalue()


def again(box):
    shown = client.api.inspect_container(box.id)
    config = {"Image": APP, "Cmd": shown["Config"]["Cmd"], "HostConfig": shown["HostConfig"]}
    return client.api.create_container_from_config(config, "py-again")


client.ping()
if posture == "again":
    box = client.containers.create(APP, ["sleep", "300"], network_mode="none")
    made = client.containers.get(again(box)["Id"])
    made.start()
    for left in [box, made]:
        left.remove(force=True)
    print("done")
    sys.exit()
image = client.images.pull(APP)
refused("no-trust-data", client.images.pull, "registry.test:5000/plain:1.0")
refused("not-signed", client.images.pull, "registry.test:5000/app", tag="unsigned")
refused("registry-not-allowed", client.images.pull, "foreign.test:5001/app:1.0")
refused("registry-not-allowed", client.images.pull, "busybox")
refused("pull-all-tags", client.images.pull, "registry.test:5000/app", all_tags=True)

run = {"network_mode": "none", "remove": True}
assert client.containers.run(APP, **run) == b"signed by docker trust, 1.0\n"
assert client.containers.run(image.id, **run) == b"signed by docker trust, 1.0\n"
refused("registry-not-allowed", client.containers.run, "evil:1.0", **run)

box = client.containers.create(APP, ["sleep", "300"], name="py-box", network_mode="none", labels={"a": "b"})
box.start()
assert box.exec_run(["echo", "by exec"]).output == b"by exec\n"
either("posture-forbids", box.put_archive, "/", archive("file", b"planted"))
box.get_archive("/id")
box.restart(timeout=0)
box.pause()
box.unpause()
box.rename("py-box2")
box.rename("py-box")
box.update(restart_policy={"Name": "no"})
box.stats(stream=False)
either("host-access", again, box)
either("posture-forbids", box.commit, "committed")
either("posture-forbids", image.tag, "tagged", "1.0")
refused("import-file", client.api.import_image_from_data, archive("file", b"planted"), repository="imported")
saved = b"".join(image.save())
either("posture-forbids", lambda: client.images.load(saved))
if posture == "images":
    refused("registry-not-allowed", client.containers.run, "committed", **run)
box.stop(timeout=0)
box.remove()

network = client.networks.create("py-lane")
volume = client.volumes.create("py-shelf")
said = client.containers.run(APP, ["echo", "here"], network="py-lane", volumes=["py-shelf:/shelf"], remove=True)
assert said == b"here\n"
either("host-access", client.api.create_container, APP, host_config=client.api.create_host_config(binds=["/etc:/host"]))
either("host-access", client.api.create_container, APP, host_config=client.api.create_host_config(privileged=True))
network.remove()

refused("build-denied", client.images.build, fileobj=io.BytesIO(b"FROM scratch\n"))
refused("plugin-needs-digest" if posture == "images" else "posture-forbids", client.plugins.install, "registry.test:5000/plugin:1")
client.images.push("registry.test:5000/app", tag="1.0")
for left in client.containers.list(all=True, filters={"ancestor": APP}):
    left.remove(force=True)
volume.remove()
print("done")
