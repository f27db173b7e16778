# About calls.
package docker.authz

import rego.v1

default allow := true

deny contains "privileged containers are not allowed" if input.Body.HostConfig.Privileged == true

deny contains "only deployers stop containers" if {
	input.PathArr[4] == "stop"
	input.User != "deployer"
}
