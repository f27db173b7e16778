# What an image is: how it runs, what its environment holds, what it was built on. Asked once for each image that a call brings in or runs.
# Query: data.docker.image.allow
package docker.image

import rego.v1

default allow := false

allow if count(deny) == 0

allowed_bases := ["debian:12", "registry.example:5000/base/"]

runs_as_root if input.Config.User in {"", "0", "root"}

runs_as_root if regex.match(`^([+-]?0+|root)?(:.*)?$`, input.Config.User)

deny contains "the container runs as root: set USER" if runs_as_root

deny contains "the image has no HEALTHCHECK" if not input.Config.Healthcheck

deny contains msg if {
	some variable in input.Config.Env
	name := split(variable, "=")[0]
	regex.match(`(?i)(password|passwd|secret|token|api_?key)`, name)
	msg := sprintf("the environment has a secret: %s", [name])
}

deny contains msg if {
	every base in allowed_bases {
		not startswith(input.Config.Image, base)
	}
	msg := sprintf("the base image %q is not allowed", [input.Config.Image])
}
