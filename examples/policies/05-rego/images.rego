# About images.
package docker.image

import rego.v1

default allow := false

allow if count(deny) == 0

deny contains "production runs no image by the tag latest" if {
	input.environment == "production"
	input.image.tag == "latest"
}

deny contains msg if {
	input.image.scan_status != "passed"
	msg := sprintf("its security scan is %s, and must be passed", [input.image.scan_status])
}

deny contains "the image is older than 30 days" if time.now_ns() - input.image.created > (((30 * 24) * 60) * 60) * 1000000000

deny contains "the container runs as root: set USER" if input.Config.User in {"", "0", "root"}
