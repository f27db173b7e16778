// What Go makes of authz-broker's users file, as that broker reads it: of patterns (made up and by hand; the texts first), and of files.
// One JSON object per line, the same at every run. From test/oracle:
//
//	go run ./users patterns > ../fixtures/users/patterns.jsonl
//	go run ./users files > ../fixtures/users/files.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"math/rand"
	"os"
	"regexp"
	"strings"
)

var subjects = []string{
	"", "container_create", "container_archive_extract", "image_build", "docker_ping", "images_load", "secret_update",
	"a", "b", "aa", "ab", "aab", "k", "K", "s", "S", "_", "-", "0", "10", " ", "[", "]", "{", "}", "{,5}", "a{,5}", "a{01}", "a&&b", "~~", ".", "*", "^", "\\", "é", "x",
}

var pieces = strings.Fields(`a b k s A K _ - container create image . . ^ $ | | ( ( ) ) ) (?: (?i) (?i: (?-i) (?s) (?m) (?U) (?x) (?) (?-) (?i-) (?ims-U:
	(?P<n> (?P<m> (?P<> (?<n> (?= (?! [a-c] [^a] [[] [a&&b] [a--b] [a~~b] [a-] [-a] []a] [^]a] [^^] [] [^] [[:alpha:]] [[:^alpha:]] [[:foo:]] [:alpha:]
	[[:word:]_] [[:upper:] [^[:lower:]] [\d_] [\w-a] [a-\w] [z-a] [\x61-c] [\]] [\^a] [\b] [[a]b] [a-b-c] [\D] [^\W] \d \D \w \W \s \S \b \B \A \z \Z \< \>
	\Q.*\E \Qa \Q\E \E \Q[ \. \_ \- \101 \1 \12 \08 \0 \8 \x61 \x6 \x{61} \x{} \x{110000} \C \pL \p{Greek} é ſ K [é] [^é] [a-é] [ſ] \é * + ? *? +? ?? ** *+
	{2} {2}? {2}{3} {2,} {,5} {1,2} {2,1} {1001} {1000} {0} {0,0} {1,1001} {99999999999} { } {} {a} {01} {1,01} {1 {1, {500} {3} \a \f \t \n \v \r \e \z\z && ~~ # / \/ \# \`)

var byHand = []string{
	"", ".*", "*", "a**", "^$", "(?:)", "container_.*", "^container_create$", "container_*", "image_(build|create)", "(?i)IMAGE", "((a{10}){10}){10}",
	"((a{10}){10}){11}", "(a{500}){3}", "(a{2}){500}", "(a*){1000}", "(?i)[^k]", "(?i)[^K]", "(?i)k", "(?i)[k]", "(?i)[[:lower:]]", "(?i)[^[:lower:]]",
	"(?i)[[:^lower:]]", "(?i)\\x4b", "(?i:a)b", "(?i:A|(?-i)B)", "a(?i)b|C", "(a(?i)b|C)D", "a(?i)*", "a*(?i)*", "(?i)*", "^*", "$+", "\\b*", "()*", "(|a)*", "a||b", "|", "()",
	"(?P<a>x)(?P<a>y)", "(?P<a>x)(?P<b>y)", "\\Qa.b\\E+", "\\Qab\\E*", "a\\Q\\E*", "\\Q", "a\\", "(", ")", "[", "[a", "[[:alpha:]", "(?", "(?P", "(?i", "x{2}{3}", "x{2}+", "x{2}??",
	strings.Repeat("(", 40) + strings.Repeat(")", 40), "[\\Qa\\E]", "[\\pL]", "(?i)\\w", "(?i)[ſ]", "[^\\x00-\\x{10FFFF}]", "[\\x{80}-\\x{10FFFF}]", "[^\\x{80}-\\x{10FFFF}]",
}

type line struct {
	Pattern  string `json:"pattern"`
	Compiles bool   `json:"compiles"`
	Fits     []int  `json:"fits"`
}

func main() {
	random := rand.New(rand.NewSource(1))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if len(os.Args) > 1 && os.Args[1] == "files" {
		files(encoder)
		return
	}
	encoder.Encode(subjects)
	seen := map[string]bool{}
	put := func(pattern string) {
		if seen[pattern] {
			return
		}
		seen[pattern] = true
		l := line{Pattern: pattern, Fits: []int{}}
		if compiled, err := regexp.Compile(pattern); err == nil {
			l.Compiles = true
			for i, text := range subjects {
				if compiled.MatchString(text) {
					l.Fits = append(l.Fits, i)
				}
			}
		}
		encoder.Encode(l)
	}
	for _, pattern := range byHand {
		put(pattern)
	}
	for _, piece := range pieces {
		put(piece)
		put("a" + piece)
		put("a" + piece + "*")
		put("[" + piece + "b]")
	}
	for len(seen) < 3000 {
		pattern := ""
		for count := 1 + random.Intn(5); count > 0; count-- {
			pattern += pieces[random.Intn(len(pieces))]
		}
		put(pattern)
	}
}
