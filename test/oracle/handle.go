package main

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// act is what the engine would do: `do` names it, the rest says to what.
type act map[string]any

// context is what a handler gets.
type context struct {
	engine *engine
	r      *http.Request
	vars   map[string]string
}

type entry struct {
	method, path string
	handle       func(*context) (act, error)
	only         string
}

// routes are in the engines' order, as far as it matters: the checkpoint routes come before the containers'.
var routes = []entry{
	{"POST", "/containers/{name:.*}/checkpoints", drive("checkpoint"), ""},
	{"DELETE", "/containers/{name}/checkpoints/{checkpoint}", drive("checkpoint"), ""},
	{"GET", "/containers/{name:.*}/attach/ws", drive("attach"), ""},
	{"POST", "/containers/create", create, ""},
	{"POST", "/containers/{name:.*}/kill", plain("harmless"), ""},
	{"POST", "/containers/{name:.*}/pause", plain("harmless"), ""},
	{"POST", "/containers/{name:.*}/unpause", plain("harmless"), ""},
	{"POST", "/containers/{name:.*}/restart", start("restart"), ""},
	{"POST", "/containers/{name:.*}/start", start("start"), ""},
	{"POST", "/containers/{name:.*}/stop", plain("harmless"), ""},
	{"POST", "/containers/{name:.*}/wait", plain("harmless"), ""},
	{"POST", "/containers/{name:.*}/resize", plain("harmless"), ""},
	{"POST", "/containers/{name:.*}/attach", drive("attach"), ""},
	{"POST", "/containers/{name:.*}/copy", plain("harmless"), "20.10"},
	{"POST", "/containers/{name:.*}/exec", exec, ""},
	{"POST", "/exec/{name:.*}/start", drive("exec"), ""},
	{"POST", "/exec/{name:.*}/resize", plain("harmless"), ""},
	{"POST", "/containers/{name:.*}/rename", rename, ""},
	{"POST", "/containers/{name:.*}/update", drive("update"), ""},
	{"POST", "/containers/prune", plain("harmless"), ""},
	{"POST", "/commit", plain("commit"), ""},
	{"PUT", "/containers/{name:.*}/archive", drive("put-archive"), ""},
	{"DELETE", "/containers/{name:.*}", named("remove"), ""},
	{"POST", "/images/load", plain("load"), ""},
	{"POST", "/images/create", imagesCreate, ""},
	{"POST", "/images/{name:.*}/push", plain("harmless"), ""},
	{"POST", "/images/{name:.*}/tag", imagesTag, ""},
	{"POST", "/images/prune", plain("harmless"), ""},
	{"DELETE", "/images/{name:.*}", plain("harmless"), ""},
	{"OPTIONS", "/{anyroute:.*}", plain("read"), ""},
	{"POST", "/auth", plain("harmless"), ""},
	{"POST", "/volumes/create", volume, ""},
	{"POST", "/volumes/prune", plain("harmless"), ""},
	{"PUT", "/volumes/{name:.*}", plain("volume-update"), "new"},
	{"DELETE", "/volumes/{name:.*}", plain("harmless"), ""},
	{"POST", "/build", plain("build"), ""},
	{"POST", "/build/prune", plain("harmless"), ""},
	{"POST", "/build/cancel", plain("harmless"), ""},
	{"POST", "/session", plain("build"), ""},
	{"POST", "/grpc", plain("build"), ""},
	{"POST", "/swarm/init", plain("swarm"), ""},
	{"POST", "/swarm/join", plain("swarm"), ""},
	{"POST", "/swarm/leave", plain("swarm"), ""},
	{"POST", "/swarm/update", plain("swarm"), ""},
	{"POST", "/swarm/unlock", plain("swarm"), ""},
	{"POST", "/services/create", serviceCreate, ""},
	{"POST", "/services/{id}/update", serviceUpdate, ""},
	{"DELETE", "/services/{id}", plain("harmless"), ""},
	{"DELETE", "/nodes/{id}", plain("harmless"), ""},
	{"POST", "/nodes/{id}/update", plain("swarm"), ""},
	{"POST", "/secrets/create", plain("harmless"), ""},
	{"POST", "/secrets/{id}/update", plain("harmless"), ""},
	{"DELETE", "/secrets/{id}", plain("harmless"), ""},
	{"POST", "/configs/create", plain("harmless"), ""},
	{"POST", "/configs/{id}/update", plain("harmless"), ""},
	{"DELETE", "/configs/{id}", plain("harmless"), ""},
	{"DELETE", "/plugins/{name:.*}", pluginChange("remove"), ""},
	{"POST", "/plugins/{name:.*}/enable", pluginChange("enable"), ""},
	{"POST", "/plugins/{name:.*}/disable", pluginChange("disable"), ""},
	{"POST", "/plugins/pull", pluginPull, ""},
	{"POST", "/plugins/{name:.*}/push", plain("harmless"), ""},
	{"POST", "/plugins/{name:.*}/upgrade", pluginUpgrade, ""},
	{"POST", "/plugins/{name:.*}/set", pluginChange("set"), ""},
	{"POST", "/plugins/create", pluginCreate, ""},
	{"POST", "/networks/create", networkCreates, ""},
	{"POST", "/networks/{id:.*}/connect", plain("harmless"), ""},
	{"POST", "/networks/{id:.*}/disconnect", plain("harmless"), ""},
	{"POST", "/networks/prune", plain("harmless"), ""},
	{"DELETE", "/networks/{id:.*}", plain("harmless"), ""},
	// A real engine has a list of these; all read.
	{"GET", "/{any:.*}", plain("read"), ""},
	{"HEAD", "/{any:.*}", plain("read"), ""},
}

func plain(do string) func(*context) (act, error) {
	return func(*context) (act, error) { return act{"do": do}, nil }
}

func named(do string) func(*context) (act, error) {
	return func(c *context) (act, error) { return act{"do": do, "container": c.vars["name"]}, nil }
}

func drive(how string) func(*context) (act, error) {
	return func(*context) (act, error) { return act{"do": "drive", "how": how}, nil }
}

func pluginChange(change string) func(*context) (act, error) {
	return func(c *context) (act, error) {
		return act{"do": "plugin-change", "plugin": c.vars["name"], "change": change}, nil
	}
}

// form parses query and form body. An error of the media type is let pass, and hides every other error.
func (c *context) form() error {
	if err := c.r.ParseForm(); err != nil && !strings.HasPrefix(err.Error(), "mime:") {
		return err
	}
	return nil
}

// json makes sure that a body, if there may be one, is called JSON.
func (c *context) json() error {
	kind := c.r.Header.Get("Content-Type")
	if kind == "" && c.r.ContentLength == 0 {
		return nil
	}
	got, _, err := mime.ParseMediaType(kind)
	if err != nil || got != "application/json" {
		return errors.New("unsupported Content-Type")
	}
	return nil
}

// decode reads one JSON value, and on newer engines sees that nothing stands behind it.
func (c *context) decode(into any) error {
	d := json.NewDecoder(c.r.Body)
	if err := d.Decode(into); err != nil {
		return err
	}
	if !c.engine.trailing && d.More() {
		return errors.New("unexpected content after JSON")
	}
	return nil
}

// optional is decode where newer engines take an empty body for no change.
func (c *context) optional(into any) error {
	if !c.engine.trailing && c.r.ContentLength == 0 {
		return nil
	}
	return c.decode(into)
}

var containerName = regexp.MustCompile(`^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

func create(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	if err := c.json(); err != nil {
		return nil, err
	}
	name := c.r.Form.Get("name")
	if name != "" && !containerName.MatchString(name) {
		return nil, errors.New("invalid container name")
	}
	var config *ContainerConfig
	var host *HostConfig
	if c.engine.legacyTop {
		var w oldCreate
		if err := c.decode(&w); err != nil {
			return nil, err
		}
		config, host = w.ContainerConfig, w.HostConfig
		if w.InnerHostConfig != nil {
			if host != nil && host.VolumeDriver != "" && w.InnerHostConfig.VolumeDriver == "" {
				w.InnerHostConfig.VolumeDriver = host.VolumeDriver
			}
			host = w.InnerHostConfig
		}
	} else {
		var w newCreate
		if err := c.decode(&w); err != nil {
			return nil, err
		}
		config, host = w.ContainerConfig, w.HostConfig
	}
	if config == nil {
		// No member of the config was given at all. A real engine has more members than one; take it for an empty config.
		config = &ContainerConfig{}
	}
	if host == nil {
		host = &HostConfig{}
	}
	a := act{"do": "create", "name": strings.TrimPrefix(name, "/"), "host_access": host.hostAccess(), "mounts": imageMounts(c.engine, host.Mounts)}
	if config.Image != "" {
		i, err := parseImage(c.engine, config.Image)
		if err != nil {
			return nil, err
		}
		a["image"] = i
	}
	return a, nil
}

func start(do string) func(*context) (act, error) {
	return func(c *context) (act, error) {
		body := false
		if do == "start" && (c.r.ContentLength > 7 || c.r.ContentLength == -1) {
			version := c.vars["version"]
			if version == "" {
				version = c.engine.maximum
			}
			if !c.engine.startBody || compare(version, "1.24") >= 0 {
				return nil, errors.New("no body at start")
			}
			if err := c.json(); err != nil {
				return nil, err
			}
			var host HostConfig
			if err := json.NewDecoder(c.r.Body).Decode(&host); err != nil {
				return nil, err
			}
			body = true
		}
		if err := c.form(); err != nil {
			return nil, err
		}
		checkpoint := do == "start" && (c.r.Form.Get("checkpoint") != "" || c.r.Form.Get("checkpoint-dir") != "")
		return act{"do": do, "container": c.vars["name"], "body": body, "checkpoint": checkpoint}, nil
	}
}

func rename(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	name := c.r.Form.Get("name")
	if !containerName.MatchString(name) {
		return nil, errors.New("invalid container name")
	}
	return act{"do": "rename", "container": c.vars["name"], "name": strings.TrimPrefix(name, "/")}, nil
}

func exec(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	if err := c.json(); err != nil {
		return nil, err
	}
	var config struct{ Privileged bool }
	if err := c.optional(&config); err != nil {
		return nil, err
	}
	if config.Privileged {
		return act{"do": "drive", "how": "privileged-exec"}, nil
	}
	return act{"do": "drive", "how": "exec"}, nil
}

func imagesCreate(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	from, tag := c.r.Form.Get("fromImage"), c.r.Form.Get("tag")
	if from == "" {
		return act{"do": "import"}, nil
	}
	n, err := parseNamed(c.engine, strings.TrimSuffix(from, ":"))
	if err != nil {
		return nil, err
	}
	if tag != "" {
		if d, derr := parseDigest(tag); derr == nil {
			n = &name{Repository: n.Repository, Digest: d}
		} else if n, err = n.withTag(tag); err != nil {
			return nil, err
		}
	}
	if n.Digest != "" {
		n.Tag = ""
	}
	return act{"do": "pull", "image": n, "all": n.Tag == "" && n.Digest == ""}, nil
}

func imagesTag(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	n, err := parseNamed(c.engine, c.r.Form.Get("repo"))
	if err != nil {
		return nil, err
	}
	if n.Digest != "" && (c.engine.modernNames || c.r.Form.Get("tag") == "") {
		return nil, errors.New("cannot tag a digest reference")
	}
	n.Digest = ""
	if tag := c.r.Form.Get("tag"); tag != "" {
		if n, err = n.withTag(tag); err != nil {
			return nil, err
		}
	}
	return act{"do": "tag", "source": c.vars["name"], "target": n.orLatest()}, nil
}

func serviceCreate(c *context) (act, error) {
	var spec serviceSpec
	if !c.engine.anyTypeSwarm {
		if err := c.json(); err != nil {
			return nil, err
		}
	}
	if err := c.optional(&spec); err != nil {
		return nil, err
	}
	task := &spec.TaskTemplate
	a := act{"do": "service", "runtime": task.Runtime}
	found := []hostAccess{}
	for _, n := range append(task.Networks, spec.Networks...) {
		if n.Target == "host" {
			found = append(found, hostAccess{"namespace", "network:host"})
		}
	}
	if task.Runtime == "plugin" && task.PluginSpec != nil {
		a["remote"] = task.PluginSpec.Remote
	}
	if k := task.ContainerSpec; k != nil && (task.Runtime == "" || task.Runtime == "container") {
		if k.Image != "" {
			i, err := parseImage(c.engine, k.Image)
			if err != nil {
				return nil, err
			}
			a["image"] = i
		}
		a["mounts"] = imageMounts(c.engine, k.Mounts)
		found = append(found, mountAccess(k.Mounts)...)
		for _, c := range k.CapabilityAdd {
			found = append(found, hostAccess{"capability", c})
		}
		for k, v := range k.Sysctls {
			found = append(found, hostAccess{"sysctl", k + "=" + v})
		}
		if p := k.Privileges; p != nil && (p.CredentialSpec != nil || p.SELinuxContext != nil || p.Seccomp != nil || p.AppArmor != nil) {
			found = append(found, hostAccess{"security-opt", ""})
		}
	}
	a["host_access"] = found
	return a, nil
}

func serviceUpdate(c *context) (act, error) {
	a, err := serviceCreate(c)
	if err != nil {
		return nil, err
	}
	query := c.r.URL.Query()
	if _, err := strconv.ParseUint(query.Get("version"), 10, 64); err != nil {
		return nil, err
	}
	switch query.Get("rollback") {
	case "", "none":
		return a, nil
	case "previous":
		return act{"do": "rollback", "service": c.vars["id"]}, nil
	}
	return nil, errors.New("unrecognized rollback option")
}

// remoteName is how plugins are named: the tag beside a digest is dropped, and latest filled in.
func (c *context) remoteName() (*name, error) {
	n, err := parseNamed(c.engine, c.r.FormValue("remote"))
	if err != nil {
		return nil, err
	}
	return n.orLatest(), nil
}

func (c *context) privileges() error {
	var list []struct{ Name string }
	d := json.NewDecoder(c.r.Body)
	if err := d.Decode(&list); err != nil {
		return err
	}
	if d.More() {
		return errors.New("invalid privileges")
	}
	return nil
}

func pluginPull(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	if err := c.privileges(); err != nil {
		return nil, err
	}
	remote, err := c.remoteName()
	if err != nil {
		return nil, err
	}
	a := act{"do": "plugin-pull", "remote": remote}
	if s := c.r.FormValue("name"); s != "" {
		local, err := parseNamed(c.engine, s)
		if err != nil {
			return nil, err
		}
		if local.Digest != "" {
			return nil, errors.New("cannot use digest in plugin tag")
		}
		a["name"] = local.orLatest()
	} else {
		// The remote one, its tag kept, its digest not.
		local := *remote
		local.Digest = ""
		a["name"] = local.orLatest()
	}
	return a, nil
}

func pluginUpgrade(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	if err := c.privileges(); err != nil {
		return nil, err
	}
	remote, err := c.remoteName()
	if err != nil {
		return nil, err
	}
	return act{"do": "plugin-upgrade", "plugin": c.vars["name"], "remote": remote}, nil
}

func pluginCreate(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	// A body that was read as a form is gone, and without an archive there is no plugin.
	if rest, _ := io.ReadAll(io.LimitReader(c.r.Body, 1)); len(rest) == 0 {
		return nil, errors.New("no archive")
	}
	return act{"do": "plugin-create", "name": c.r.FormValue("name")}, nil
}

func volume(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	if err := c.json(); err != nil {
		return nil, err
	}
	var config volumeCreate
	if err := c.optional(&config); err != nil {
		return nil, err
	}
	found := []hostAccess{}
	if config.Driver != "" && config.Driver != "local" {
		found = append(found, hostAccess{"volume-driver", config.Driver})
	}
	for k, v := range config.DriverOpts {
		found = append(found, hostAccess{"volume-options", k + "=" + v})
	}
	if config.ClusterVolumeSpec != nil && c.engine.name == "new" {
		found = append(found, hostAccess{"volume-driver", "cluster volume"})
	}
	return act{"do": "volume", "host_access": found}, nil
}

func networkCreates(c *context) (act, error) {
	if err := c.form(); err != nil {
		return nil, err
	}
	if err := c.json(); err != nil {
		return nil, err
	}
	var config networkCreate
	if err := c.optional(&config); err != nil {
		return nil, err
	}
	drivers := []string{config.Driver}
	if config.IPAM != nil {
		drivers = append(drivers, config.IPAM.Driver)
	}
	return act{"do": "network", "drivers": drivers, "host_access": config.hostAccess()}, nil
}
