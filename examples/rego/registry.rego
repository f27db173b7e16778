# Where images come from, and who signed them. Asked once for each image that a call brings in or runs.
# Query: data.docker.registry.allow
package docker.registry

import rego.v1

default allow := false

approved_registries := {"registry.example:5000", "mirror.example"}

allow if {
	input.image.registry in approved_registries
	is_signed
}

is_signed if {
	some signature in input.image.signatures
	signature.verified == true
	signature.digest != ""
}

deny contains msg if {
	not input.image.registry in approved_registries
	msg := sprintf("images of %s are not approved", [input.image.registry])
}

deny contains "the image has no signature" if not is_signed

deny contains "production runs no image by the tag latest: use a version or a digest" if {
	input.environment == "production"
	input.image.tag == "latest"
}

deny contains msg if {
	input.image.scan_status != "passed"
	msg := sprintf("its security scan is %s, and must be passed", [input.image.scan_status])
}

max_age_ns := ((30 * 24) * 60) * 60 * 1000000000

deny contains "the image is older than 30 days: build it again" if time.now_ns() - input.image.created > max_age_ns
