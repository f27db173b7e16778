package main

import (
	"errors"
	"regexp"
	"strings"
)

// name is a normalised reference.
type name struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
	domain     string
	path       string
}

// image is what the engine takes where it takes "an image": an id, or a name.
type image struct {
	Raw string `json:"raw"`
	ID  string `json:"id,omitempty"`
	*name
}

const (
	part      = `[a-z0-9]+(?:(?:[._]|__|[-]*)[a-z0-9]+)*`
	remote    = part + `(?:/` + part + `)*`
	label     = `(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])`
	domains   = label + `(?:\.` + label + `)*`
	bracketed = `\[(?:[a-fA-F0-9:]+)\]`
	port      = `(?::[0-9]+)?`
	tagged    = `[\w][\w.-]{0,127}`
	digested  = `[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][[:xdigit:]]{32,}`
)

var (
	hex64     = regexp.MustCompile(`^[a-f0-9]{64}$`)
	oldRef    = whole(domains)
	newRef    = whole(`(?:` + domains + `|` + bracketed + `)`)
	tagOnly   = regexp.MustCompile(`^` + tagged + `$`)
	sha       = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}
	lowerHex  = regexp.MustCompile(`^[a-f0-9]+$`)
	errFormat = errors.New("invalid reference format")
)

func whole(host string) *regexp.Regexp {
	return regexp.MustCompile(`^(?:(` + host + port + `)/)?(` + remote + `)(?::(` + tagged + `))?(?:@(` + digested + `))?$`)
}

// parseDigest takes the three algorithms that are linked into the engines.
func parseDigest(s string) (string, error) {
	algorithm, encoded, _ := strings.Cut(s, ":")
	if n, ok := sha[algorithm]; !ok || len(encoded) != n || !lowerHex.MatchString(encoded) {
		return "", errors.New("invalid digest")
	}
	return s, nil
}

// parseNamed normalises a familiar name.
func parseNamed(e *engine, s string) (*name, error) {
	if hex64.MatchString(s) {
		return nil, errors.New("cannot be 64 hex digits")
	}
	domain, rest := split(e, s)
	before, _, _ := strings.Cut(rest, ":")
	if strings.ToLower(before) != before {
		return nil, errors.New("must be lower case")
	}
	grammar := oldRef
	if e.modernNames {
		grammar = newRef
	}
	m := grammar.FindStringSubmatch(domain + "/" + rest)
	if m == nil {
		return nil, errFormat
	}
	n := &name{domain: m[1], path: m[2], Tag: m[3]}
	n.Repository = n.path
	if n.domain != "" {
		n.Repository = n.domain + "/" + n.path
	}
	long := n.Repository
	if e.modernNames {
		long = n.path
	}
	if len(long) > 255 {
		return nil, errors.New("too long")
	}
	if m[4] != "" {
		d, err := parseDigest(m[4])
		if err != nil {
			return nil, err
		}
		n.Digest = d
	}
	return n, nil
}

func split(e *engine, s string) (domain, rest string) {
	first, behind, ok := strings.Cut(s, "/")
	switch {
	case !ok:
		domain, rest = "docker.io", s
	case first == "localhost" || strings.ContainsAny(first, ".:"):
		domain, rest = first, behind
	case e.modernNames && strings.ToLower(first) != first:
		domain, rest = first, behind
	default:
		domain, rest = "docker.io", s
	}
	if domain == "index.docker.io" {
		domain = "docker.io"
	}
	if domain == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	return domain, rest
}

func (n *name) orLatest() *name {
	c := *n
	if c.Tag == "" && c.Digest == "" {
		c.Tag = "latest"
	}
	return &c
}

// withTag replaces the tag; a digest stays.
func (n *name) withTag(tag string) (*name, error) {
	if !tagOnly.MatchString(tag) {
		return nil, errors.New("invalid tag format")
	}
	c := *n
	c.Tag = tag
	return &c, nil
}

// parseImage is for create and the like, where ids are taken as well.
func parseImage(e *engine, s string) (*image, error) {
	if hex64.MatchString(s) {
		return &image{Raw: s, ID: "sha256:" + s}, nil
	}
	if d, err := parseDigest(s); err == nil {
		return &image{Raw: s, ID: d}, nil
	}
	n, err := parseNamed(e, s)
	if err != nil {
		return nil, err
	}
	return &image{Raw: s, name: n.orLatest()}, nil
}
