#!/usr/bin/env python3
"""The pipelines of contrib/ci are YAML, have what each forge wants, and their shell lines are shell (bash -n, shellcheck).

Whether the commands and flags of img-authz in them exist is a test of the documents (test/it/docs.rs).
"""
import pathlib
import subprocess
import sys

import yaml

CI = pathlib.Path(__file__).resolve().parent.parent / "contrib" / "ci"


def shell(where, text, strict):
    for command in (["bash", "-n"], ["shellcheck", "--shell=bash", "--exclude=SC2154", "-"]):
        done = subprocess.run(command, input=strict + text + "\n", text=True, capture_output=True, check=False)
        if done.returncode:
            sys.exit(f"{where}: {command[0]}:\n{done.stdout}{done.stderr}")


def github(path):
    pipeline = yaml.safe_load(path.read_text())
    # YAML 1.1 reads the key `on` as a truth.
    assert set(pipeline) == {"name", True, "permissions", "jobs"}, pipeline.keys()
    lines = 0
    for name, job in pipeline["jobs"].items():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(pipeline["jobs"]), name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), (name, step)
            if "run" in step:
                # What comes from outside reaches a shell as a variable, never as text.
                assert "${{" not in step["run"], (name, step["run"])
                shell(f"{path.name}: {name}", step["run"], "set -eo pipefail\n")
                lines += 1
            else:
                assert "@" in step["uses"], step
    assert lines > 5


def gitlab(path):
    pipeline = yaml.safe_load(path.read_text())
    jobs = {name: job for name, job in pipeline.items() if name not in ("stages", "variables", "default")}
    assert {job["stage"] for job in jobs.values()} == set(pipeline["stages"])
    before = pipeline["default"]["before_script"]
    for name, job in jobs.items():
        lines = before + job["script"]
        assert all(isinstance(line, str) for line in lines), (name, lines)
        shell(f"{path.name}: {name}", "\n".join(lines), "set -eo pipefail\n")
    assert len(jobs) > 3


github(CI / "github-actions.yml")
gitlab(CI / "gitlab-ci.yml")
assert len(list(CI.iterdir())) == 2, "a pipeline that nobody looks at"
print("contrib/ci: as it should be")
