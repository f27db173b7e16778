# Calls, in today's Rego (OPA 1.0 and later). The query is data.docker.authz.allow: it must be true.
#
# Everybody may look; operators may do all but what opens the host; the rest is refused, with the reason.
package docker.authz

default allow := false

# The roles, by the common name of the client's certificate. A call over the local socket has no name ("").
roles := {
	"alice": "operator",
	"bob": "auditor",
	"": "operator",
}

role := roles[input.User]

reads if input.Method in {"GET", "HEAD"}

allow if {
	reads
	role in {"auditor", "operator"}
}

allow if role == "operator"

deny contains "privileged containers are not allowed" if input.Body.HostConfig.Privileged == true

deny contains msg if {
	some option in input.Body.HostConfig.SecurityOpt
	option in {"seccomp=unconfined", "seccomp:unconfined"}
	msg := sprintf("%s switches the system call filter off", [option])
}

deny contains msg if {
	some mount in input.BindMounts
	not startswith(mount.Source, "/srv/")
	msg := sprintf("%s of the host may not be mounted: only what is below /srv may", [mount.Source])
}
