# The same kind of policy in the Rego of OPA before 1.0, as published ones for opa-docker-authz are: no `if`, no `contains`, old
# functions. It runs as it is.
package docker.authz

default allow = false

allow {
	not unconfined
	not privileged
	may_write
}

allow {
	input.Method == "GET"
}

# seccomp:unconfined in any spelling, also among other options.
unconfined {
	re_match("^seccomp[:=]unconfined$", input.Body.HostConfig.SecurityOpt[_])
}

privileged {
	input.Body.HostConfig.Privileged == true
}

# Read-only users say so in a header (HttpHeaders in docker's config.json). A header is the client's word: use it among honest users.
may_write {
	users[user] == "readWrite"
}

user = name {
	name := input.Headers["Authz-User"]
}

users = {
	"carol": "readWrite",
	"dave": "readOnly",
}
