package main

import (
	"encoding/json"
	"net"
	"path"
	"strconv"
	"strings"
)

// The structs hold what a decision may turn on, with the engines' own types and names.

// ContainerConfig and HostConfig are exported because encoding/json sets no embedded pointer to another.
type ContainerConfig struct {
	Image string
}

// HostConfig is what may open the host.
type HostConfig struct {
	Binds        []string
	NetworkMode  string
	VolumeDriver string
	VolumesFrom  []string
	CapAdd       stringOrList
	CgroupnsMode string
	IpcMode      string
	Cgroup       string
	PidMode      string
	Privileged   bool
	SecurityOpt  []string
	UTSMode      string
	UsernsMode   string
	Sysctls      map[string]string `json:",omitempty"`
	Annotations  map[string]string `json:",omitempty"`
	Runtime      string            `json:",omitempty"`
	resources
	Mounts        []mount `json:",omitempty"`
	MaskedPaths   []string
	ReadonlyPaths []string
}

type resources struct {
	CgroupParent      string
	Devices           []device
	DeviceCgroupRules []string
	DeviceRequests    []deviceRequest
}

type device struct{ PathOnHost string }
type deviceRequest struct{ Driver string }

type mount struct {
	Type          string `json:",omitempty"`
	Source        string `json:",omitempty"`
	VolumeOptions *struct {
		DriverConfig *struct {
			Name    string            `json:",omitempty"`
			Options map[string]string `json:",omitempty"`
		} `json:",omitempty"`
	} `json:",omitempty"`
}

// oldCreate takes HostConfig's members from the top level as well.
type oldCreate struct {
	*ContainerConfig
	InnerHostConfig *HostConfig `json:"HostConfig,omitempty"`
	*HostConfig
}

type newCreate struct {
	*ContainerConfig
	HostConfig *HostConfig `json:"HostConfig,omitempty"`
}

// stringOrList is one string or a list of them.
type stringOrList []string

func (s *stringOrList) UnmarshalJSON(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	list := make([]string, 0, 1)
	if err := json.Unmarshal(b, &list); err != nil {
		var one string
		if err := json.Unmarshal(b, &one); err != nil {
			return err
		}
		list = append(list, one)
	}
	*s = list
	return nil
}

type serviceSpec struct {
	TaskTemplate struct {
		ContainerSpec *struct {
			Image         string            `json:",omitempty"`
			Mounts        []mount           `json:",omitempty"`
			CapabilityAdd []string          `json:",omitempty"`
			Sysctls       map[string]string `json:",omitempty"`
			Privileges    *struct {
				CredentialSpec *struct{}
				SELinuxContext *struct{}
				Seccomp        *struct{} `json:",omitempty"`
				AppArmor       *struct{} `json:",omitempty"`
			} `json:",omitempty"`
		} `json:",omitempty"`
		PluginSpec *struct {
			Remote string `json:"remote,omitempty"`
		} `json:",omitempty"`
		Networks []network `json:",omitempty"`
		Runtime  string    `json:",omitempty"`
	} `json:",omitempty"`
	Networks []network `json:",omitempty"`
}

type network struct {
	Target string `json:",omitempty"`
}

type volumeCreate struct {
	Driver            string
	DriverOpts        map[string]string
	ClusterVolumeSpec *struct{} `json:",omitempty"`
}

type networkCreate struct {
	Driver  string
	Options map[string]string
	IPAM    *struct {
		Driver string
		Config []struct{ Subnet string }
	} `json:",omitempty"`
}

// hostAccess names the interfaces, and the IPv4 subnets that hold addresses outside the private networks.
func (n *networkCreate) hostAccess() []hostAccess {
	found := []hostAccess{}
	for option, id := range map[string]string{"parent": "network-parent", "com.docker.network.bridge.name": "network-bridge"} {
		if what, given := n.Options[option]; given {
			found = append(found, hostAccess{id, what})
		}
	}
	if n.IPAM == nil {
		return found
	}
	for _, pool := range n.IPAM.Config {
		_, subnet, err := net.ParseCIDR(pool.Subnet)
		if err == nil && (!subnet.IP.IsPrivate() || !lastOf(subnet).IsPrivate()) {
			found = append(found, hostAccess{"network-subnet", pool.Subnet})
		}
	}
	return found
}

func lastOf(n *net.IPNet) net.IP {
	last := make(net.IP, len(n.IP))
	for i := range n.IP {
		last[i] = n.IP[i] | ^n.Mask[i]
	}
	return last
}

// hostAccess is a way to the host.
type hostAccess struct {
	ID   string `json:"id"`
	What string `json:"what"`
}

func (h *HostConfig) hostAccess() (found []hostAccess) {
	add := func(id, what string) { found = append(found, hostAccess{id, what}) }
	if h.Privileged {
		add("privileged", "privileged")
	}
	for _, b := range h.Binds {
		if src, _, ok := strings.Cut(b, ":"); ok && path.IsAbs(src) {
			add("bind", path.Clean(src))
		}
	}
	found = append(found, mountAccess(h.Mounts)...)
	for _, v := range h.VolumesFrom {
		add("volumes-from", v)
	}
	if h.VolumeDriver != "" && h.VolumeDriver != "local" {
		add("volume-driver", h.VolumeDriver)
	}
	for _, d := range h.Devices {
		add("device", d.PathOnHost)
	}
	for _, r := range h.DeviceCgroupRules {
		add("device", r)
	}
	for range h.DeviceRequests {
		add("device", "")
	}
	for _, c := range h.CapAdd {
		add("capability", c)
	}
	for _, o := range h.SecurityOpt {
		if !tightens(o) {
			add("security-opt", o)
		}
	}
	for kind, mode := range map[string]string{"pid": h.PidMode, "ipc": h.IpcMode, "uts": h.UTSMode, "user": h.UsernsMode, "cgroup": h.CgroupnsMode} {
		if mode == "host" || strings.HasPrefix(mode, "container:") {
			add("namespace", kind+":"+mode)
		}
	}
	if h.Cgroup != "" {
		add("namespace", "cgroup:"+h.Cgroup)
	}
	if h.NetworkMode == "host" || strings.HasPrefix(h.NetworkMode, "container:") {
		add("namespace", "network:"+h.NetworkMode)
	}
	if h.Runtime != "" {
		add("runtime", h.Runtime)
	}
	if h.CgroupParent != "" {
		add("cgroup-parent", h.CgroupParent)
	}
	for k, v := range h.Sysctls {
		add("sysctl", k+"="+v)
	}
	for k, v := range h.Annotations {
		add("annotation", k+"="+v)
	}
	if h.MaskedPaths != nil {
		add("masked-paths", "")
	}
	if h.ReadonlyPaths != nil {
		add("readonly-paths", "")
	}
	return found
}

// tightens tells the one option that takes rights away; which spellings the gate knows is its own choice.
func tightens(option string) bool {
	if option == "no-new-privileges" {
		return true
	}
	for _, sep := range []string{"=", ":"} {
		if k, v, ok := strings.Cut(option, sep); ok {
			on, err := strconv.ParseBool(v)
			return k == "no-new-privileges" && err == nil && on
		}
	}
	return false
}

func mountAccess(mounts []mount) (found []hostAccess) {
	for _, m := range mounts {
		switch m.Type {
		case "bind":
			// Any other source is refused later.
			if path.IsAbs(m.Source) {
				found = append(found, hostAccess{"bind", path.Clean(m.Source)})
			}
		case "volume":
			if m.VolumeOptions == nil || m.VolumeOptions.DriverConfig == nil {
				continue
			}
			c := m.VolumeOptions.DriverConfig
			if c.Name != "" && c.Name != "local" {
				found = append(found, hostAccess{"volume-driver", c.Name})
			}
			for k, v := range c.Options {
				found = append(found, hostAccess{"volume-options", k + "=" + v})
			}
		}
	}
	return found
}

// imageMounts gives the sources of image mounts.
func imageMounts(e *engine, mounts []mount) (sources []string) {
	for _, m := range mounts {
		if m.Type == "image" && e.imageMounts {
			sources = append(sources, m.Source)
		}
	}
	return sources
}
