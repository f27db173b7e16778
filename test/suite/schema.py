"""docs/policy.schema.json against a JSON Schema validator: what it takes, and what it does not.

    schema.py IMG-AUTHZ REPOSITORY

Every example of the documentation and under examples/, and everything that `policy import` makes of the fixtures, validates; faulty policies
do not. The gate itself reads the examples in `cargo test`: this is what an editor says of them.
"""
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import jsonschema

program, repository = sys.argv[1], pathlib.Path(sys.argv[2])
BEGINS = 'version = 1\n[verifiers.release]\ntype = "notary"\nserver = "n.example"\n'
ONE = BEGINS + '[[scope]]\nmatch = "r.example/**"\n'
FAULTY = {
    "no version": '[verifiers.r]\ntype = "registry"\n',
    "another version": "version = 2\n",
    "the version as a text": 'version = "1"\n',
    "a misspelt key": 'version = 1\nmod = "enforce"\n',
    "a mode that is none": 'version = 1\nmode = "audit"\n',
    "a verifier without a type": '[verifiers.r]\nserver = "n.example"\nversion = 1\n',
    "a verifier of no known type": 'version = 1\n[verifiers.r]\ntype = "gpg"\n',
    "a verifier with a name that is none": 'version = 1\n[verifiers.R_1]\ntype = "registry"\n',
    "a verifier with another type's key": 'version = 1\n[verifiers.r]\ntype = "registry"\nserver = "n.example"\n',
    "a scope that says nothing": ONE,
    "a scope that refuses and requires": ONE + 'refuse = true\nrequire = "release"\n',
    "a scope that does not refuse": ONE + "refuse = false\n",
    "an empty list of verifiers": ONE + "require = { any = [] }\n",
    "all and any in one table": ONE + 'require = { any = ["release"], all = ["release"] }\n',
    "a rule of no known level": BEGINS + '[rules]\nuser-root = "allow"\n',
    "users in both forms": BEGINS + '[users]\nfile = "u"\n[[users.group]]\nname = "a"\nusers = ["x"]\nactions = ["*"]\n',
    "a group without actions": BEGINS + '[[users.group]]\nname = "a"\nusers = ["x"]\n',
}


def run(*arguments):
    return subprocess.run([program, "policy", *arguments], capture_output=True, text=True)


def read(text):
    # To JSON a time is a text.
    return json.loads(json.dumps(tomllib.loads(text), default=lambda time: time.isoformat()))


validator = jsonschema.Draft202012Validator(json.loads(run("schema").stdout))
validator.check_schema(validator.schema)
good = {}
for document in [repository / "README.md", *sorted((repository / "docs").glob("*.md"))]:
    blocks = re.findall(r"```toml\n(.*?)```", document.read_text(), re.S)
    for number, text in enumerate(blocks):
        # Files of cases, and of alerts.
        if "[[case]]" in text or "[[webhook]]" in text:
            continue
        # Parts of a policy, as they are shown.
        good[f"{document.name}, example {number + 1}"] = text if "version = 1" in text else "version = 1\n" + text
for file in sorted((repository / "examples").rglob("policy*.toml")):
    good[str(file.relative_to(repository))] = file.read_text()
for file in sorted((repository / "test/fixtures/import").iterdir()):
    said = run("import", "--json", str(file))
    good[f"import of {file.name}"] = json.loads(said.stdout or "{}").get("policy", "")
bad = 0
for name, text in good.items():
    for error in validator.iter_errors(read(text)):
        bad += 1
        print(f"{name}: {error.json_path}: {error.message}")
for name, text in FAULTY.items():
    if validator.is_valid(tomllib.loads(text)):
        bad += 1
        print(f"{name} is taken for a policy")
print(f"{len(good)} policies, {len(FAULTY)} faulty ones, {bad} in the wrong place")
sys.exit(bad > 0 or len(good) < 15)
