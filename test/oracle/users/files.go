package main

import (
	"encoding/json"
	"math/rand"
	"regexp"
	"strings"
)

// What a line of a users file is to authz-broker.
type policy struct {
	Actions  []string `json:"actions"`
	Users    []string `json:"users"`
	Name     string   `json:"name"`
	Readonly bool     `json:"readonly"`
}

// file is a users file, and which of the calls it lets pass: users outside, actions inside.
type file struct {
	File   string   `json:"file"`
	Allows [][]bool `json:"allows"`
}

var users = []string{"", "bob", "carol"}

// Method and action of calls.
var calls = [][2]string{{"POST", "container_stop"}, {"GET", "image_list"}, {"POST", "images_load"}, {"POST", ""}, {"GET", ""}}

func allows(policies []policy, user, method, action string) bool {
	for _, p := range policies {
		for _, u := range p.Users {
			if u != user {
				continue
			}
			for _, pattern := range p.Actions {
				if fits, err := regexp.MatchString(pattern, action); err == nil && fits {
					return !p.Readonly || method == "GET"
				}
			}
			return false
		}
	}
	return false
}

func read(text string) []policy {
	var policies []policy
	for _, l := range strings.Split(text, "\n") {
		if l == "" {
			continue
		}
		var p policy
		// What of it can be read stays, also where this fails.
		_ = json.Unmarshal([]byte(l), &p)
		policies = append(policies, p)
	}
	return policies
}

var (
	keys   = []string{`"users"`, `"users"`, `"users"`, `"actions"`, `"actions"`, `"actions"`, `"readonly"`, `"name"`, `"Users"`, `"ACTIONS"`, "\"u\u017fers\"", `"\u0075sers"`, `"user"`, `"readOnly"`, `"x"`}
	texts  = []string{`"bob"`, `"bob"`, `"carol"`, `""`, `"*"`, `"b\u006fb"`, `"\ud800"`, "\"b\xffb\"", `"local"`}
	fits   = []string{`".*"`, `"stop"`, `"stop"`, `"image"`, `"*"`, `"^$"`, `""`, `"container_.*"`, `"(?i)LOAD"`, `"list$"`, `"\\Qstop\\E"`, `"[[:alpha:]]"`, `"a**"`, `"sto{1}p"`, `"{"`}
	odd    = []string{`null`, `7`, `1e999`, `true`, `{"a":["bob"]}`, `["bob"]`, `[[[]]]`}
	whole  = []string{"", "#", "{}", "[]", "null", "{", `"bob"`, "\ufeff{\"users\":[\"bob\"]}", `{"users":["bob"]}{}`, `{"users":["bob"],}`, " \t", `{"users":["bob"],"actions":[".*"]} x`}
	spaces = []string{"", "", "", " ", "\t", "\r"}
)

func pick(random *rand.Rand, from []string) string { return from[random.Intn(len(from))] }

func list(random *rand.Rand, from []string) string {
	var parts []string
	for count := random.Intn(4); count > 0; count-- {
		if random.Intn(12) == 0 {
			parts = append(parts, pick(random, odd))
		} else {
			parts = append(parts, pick(random, from))
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func randomLine(random *rand.Rand) string {
	if random.Intn(8) == 0 {
		return pick(random, whole)
	}
	var members []string
	for count := 2 + random.Intn(4); count > 0; count-- {
		key := pick(random, keys)
		value := ""
		switch folded := strings.ToLower(key); {
		case random.Intn(15) == 0:
			value = pick(random, odd)
		case strings.Contains(folded, "action"):
			value = list(random, fits)
		case strings.Contains(folded, "ser"):
			value = list(random, texts)
		case strings.Contains(folded, "readonly"):
			value = pick(random, []string{"true", "false", "true", `"true"`, "null"})
		default:
			value = pick(random, texts)
		}
		members = append(members, key+":"+value)
	}
	return pick(random, spaces) + "{" + strings.Join(members, ",") + "}" + pick(random, spaces)
}

func files(encoder *json.Encoder) {
	random := rand.New(rand.NewSource(2))
	for range make([]int, 3000) {
		var lines []string
		for count := 1 + random.Intn(3); count > 0; count-- {
			lines = append(lines, randomLine(random))
		}
		f := file{File: strings.Join(lines, "\n")}
		policies := read(f.File)
		for _, user := range users {
			var row []bool
			for _, call := range calls {
				row = append(row, allows(policies, user, call[0], call[1]))
			}
			f.Allows = append(f.Allows, row)
		}
		// Bytes that are no text would be lost in JSON; U+FFFD says them.
		f.File = strings.ToValidUTF8(f.File, "\ufffd")
		encoder.Encode(f)
	}
}
