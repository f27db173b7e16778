# A scan that held is needed outside `tools`.
package docker.image

import rego.v1

default allow := false

allow if count(deny) == 0

is_tool if startswith(input.image.repository, "registry.example/tools/")

deny contains msg if {
	not is_tool
	input.image.scan_status != "passed"
	msg := sprintf("its scan is %s", [input.image.scan_status])
}

deny contains "nobody says what is in it" if {
	not is_tool
	count([stated | some stated in input.image.attestations; stated.kind == "sbom"]) == 0
}
