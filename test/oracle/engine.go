package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// engine is a generation of engines, by what differs in reading requests.
type engine struct {
	name             string
	minimum, maximum string
	http2            bool
	shownBytes       int  // a body of this size is no longer shown
	tooLarge         bool // such a body is refused before any plugin is asked
	anyTypeSwarm     bool // services are decoded under any content type
	legacyTop        bool // members of HostConfig count at the top level
	trailing         bool // what stands behind the JSON value is not looked at
	startBody        bool // a body replaces the HostConfig at start below API 1.24
	modernNames      bool // brackets and upper-case hosts in references
	imageMounts      bool
	shownAuth        bool // the body of /auth is shown like any other
}

var engines = []*engine{
	{
		name: "20.10", minimum: "1.12", maximum: "1.41", shownBytes: 1 << 20,
		shownAuth: true, anyTypeSwarm: true, legacyTop: true, trailing: true, startBody: true,
	},
	{
		name: "new", minimum: "1.40", maximum: "1.56", http2: true, shownBytes: 4<<20 + 1, tooLarge: true, modernNames: true, imageMounts: true,
	},
}

// shown is what a plugin is posted.
type shown struct {
	RequestMethod  string            `json:",omitempty"`
	RequestURI     string            `json:"RequestUri,omitempty"`
	RequestBody    []byte            `json:",omitempty"`
	RequestHeaders map[string]string `json:",omitempty"`
}

// show does what the authorization middleware does with a request, the body included, which it puts back.
func show(e *engine, r *http.Request) (*shown, error) {
	s := &shown{RequestMethod: r.Method, RequestURI: r.RequestURI, RequestHeaders: map[string]string{}}
	for name, values := range r.Header {
		switch strings.ToLower(name) {
		case "authorization", "x-registry-auth", "x-registry-config":
			continue
		}
		for _, v := range values {
			s.RequestHeaders[name] = v
		}
	}
	if !bodyIsShown(e, r) {
		return s, nil
	}
	// The middleware peeks with a buffer of that size; what is peeked is all or nothing.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) < e.shownBytes {
		s.RequestBody = body
	} else if e.tooLarge {
		return nil, errors.New("too large to be shown")
	}
	return s, nil
}

var authPath = regexp.MustCompile(`^[^\/]*\/(v\d[\d\.]*\/)?auth.*`)

func bodyIsShown(e *engine, r *http.Request) bool {
	// Not ParseRequestURI: a fragment counts here.
	u, err := url.Parse(r.RequestURI)
	if err != nil || (!e.shownAuth && authPath.MatchString(u.Path)) {
		return false
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// matcher is one route in one spelling.
type matcher struct {
	method  string
	pattern *regexp.Regexp
	*handler
}

type handler struct {
	handle func(*context) (act, error)
	only   string // an engine's name, or empty
}

// template turns a router's path into a regular expression: `{name}` takes one part, `{name:pattern}` what the pattern takes.
func template(p string) *regexp.Regexp {
	variable := regexp.MustCompile(`\{([a-z]+)(?::([^}]*))?\}`)
	var b strings.Builder
	end := 0
	for _, m := range variable.FindAllStringSubmatchIndex(p, -1) {
		b.WriteString(regexp.QuoteMeta(p[end:m[0]]))
		pattern := "[^/]+"
		if m[4] >= 0 {
			pattern = p[m[4]:m[5]]
		}
		fmt.Fprintf(&b, "(?P<%s>%s)", p[m[2]:m[3]], pattern)
		end = m[1]
	}
	b.WriteString(regexp.QuoteMeta(p[end:]))
	return regexp.MustCompile("^" + b.String() + "$")
}

var matchers = func() []matcher {
	var all []matcher
	for _, rt := range routes {
		h := &handler{handle: rt.handle, only: rt.only}
		all = append(all, matcher{rt.method, template("/v{version:[0-9.]+}" + rt.path), h}, matcher{rt.method, template(rt.path), h})
	}
	return all
}()

func route(e *engine, r *http.Request) (*handler, map[string]string, bool) {
	if clean(r.URL.Path) != r.URL.Path {
		return nil, nil, false
	}
	for _, m := range matchers {
		if m.method != r.Method || (m.only != "" && m.only != e.name) {
			continue
		}
		found := m.pattern.FindStringSubmatch(r.URL.Path)
		if found == nil {
			continue
		}
		vars := map[string]string{}
		for i, name := range m.pattern.SubexpNames() {
			if name != "" {
				vars[name] = found[i]
			}
		}
		return m.handler, vars, true
	}
	return nil, nil, false
}

func clean(p string) string {
	if p == "" {
		return "/"
	}
	if p[0] != '/' {
		p = "/" + p
	}
	c := path.Clean(p)
	if strings.HasSuffix(p, "/") && c != "/" {
		c += "/"
	}
	return c
}

// checkVersion is behind the plugin.
func checkVersion(e *engine, version string) error {
	if version != "" && (compare(version, e.minimum) < 0 || compare(version, e.maximum) > 0) {
		return fmt.Errorf("client version %s is out of range", version)
	}
	return nil
}

// compare orders dotted numbers; what is no number counts as zero, and so does what is missing.
func compare(a, b string) int {
	if a == b {
		return 0
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(as) || i < len(bs); i++ {
		var x, y int
		if i < len(as) {
			x, _ = strconv.Atoi(as[i])
		}
		if i < len(bs) {
			y, _ = strconv.Atoi(bs[i])
		}
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}
