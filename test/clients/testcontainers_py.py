"""Testcontainers for Python, with its reaper. RYUK_CONTAINER_IMAGE says which image that is.

testcontainers_py.py runs IMAGE | refused CODE IMAGE
"""
import sys

from docker.errors import APIError
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

verb, *arguments = sys.argv[1:]
container = DockerContainer(arguments[-1]).with_command(["sh", "-c", "echo ready; exec sleep 300"]).with_exposed_ports(8080)
try:
    with container:
        wait_for_logs(container, "ready", timeout=20)
        assert container.exec(["echo", "by exec"]).output == b"by exec\n"
        assert container.get_exposed_port(8080)
except APIError as error:
    assert verb == "refused" and f": {arguments[0]}: " in str(error), error
    print("refused", str(error).split(": ", 2)[-1])
else:
    assert verb == "runs", f"{arguments} ran"
print("done")
