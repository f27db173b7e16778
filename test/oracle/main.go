// Command oracle says what dockerd would make of a request. See README.md.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// request is one line of input.
type request struct {
	Method  string      `json:"method"`
	Target  string      `json:"target"`
	Headers [][2]string `json:"headers"`
	Body    string      `json:"body"`
	Chunked bool        `json:"chunked"`
	HTTP2   bool        `json:"http2"`
	// Raw, where given, is the whole request of HTTP/1 as it was sent.
	Raw string `json:"raw"`
}

// answer is one engine's part of a line of output.
type answer struct {
	Engine string `json:"engine"`
	Call   *shown `json:"call"`
	Act    act    `json:"act"`
	Error  string `json:"error,omitempty"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	enc := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var q request
			if err := json.Unmarshal(line, &q); err != nil {
				fmt.Fprintln(os.Stderr, "oracle:", err)
				os.Exit(1)
			}
			enc.Encode(map[string]any{"engines": consider(&q)})
			// The other side writes in batches and waits for as many lines.
			if in.Buffered() == 0 {
				out.Flush()
			}
		}
		if err != nil {
			return
		}
	}
}

func consider(q *request) []answer {
	answers := []answer{}
	for _, e := range engines {
		if q.HTTP2 && !e.http2 {
			continue
		}
		// Read anew for each: a body can be read once.
		r, err := q.read()
		if err != nil {
			continue
		}
		rt, vars, ok := route(e, r)
		if !ok {
			continue
		}
		call, err := show(e, r)
		if err != nil {
			continue
		}
		a := answer{Engine: e.name, Call: call}
		if err := checkVersion(e, vars["version"]); err != nil {
			a.Error = err.Error()
		} else if a.Act, err = rt.handle(&context{engine: e, r: r, vars: vars}); err != nil {
			a.Act, a.Error = nil, err.Error()
		}
		answers = append(answers, a)
	}
	return answers
}

// read makes the http.Request that a handler of dockerd gets.
func (q *request) read() (*http.Request, error) {
	if q.Raw != "" {
		raw, err := base64.StdEncoding.DecodeString(q.Raw)
		if err != nil {
			return nil, err
		}
		return http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	}
	body, err := base64.StdEncoding.DecodeString(q.Body)
	if err != nil {
		return nil, err
	}
	if q.HTTP2 {
		return q.readHTTP2(body)
	}
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "%s %s HTTP/1.1\r\nHost: docker\r\n", q.Method, q.Target)
	length := false
	for _, h := range q.Headers {
		if strings.EqualFold(h[0], "Content-Length") {
			length = true
		}
		fmt.Fprintf(&raw, "%s: %s\r\n", h[0], h[1])
	}
	switch {
	case q.Chunked:
		fmt.Fprintf(&raw, "Transfer-Encoding: chunked\r\n\r\n")
		if len(body) > 0 {
			fmt.Fprintf(&raw, "%x\r\n%s\r\n", len(body), body)
		}
		raw.WriteString("0\r\n\r\n")
	case length || (len(body) == 0 && q.Method == "GET"):
		raw.WriteString("\r\n")
		raw.Write(body)
	default:
		fmt.Fprintf(&raw, "Content-Length: %d\r\n\r\n", len(body))
		raw.Write(body)
	}
	return http.ReadRequest(bufio.NewReader(&raw))
}

func (q *request) readHTTP2(body []byte) (*http.Request, error) {
	u, err := url.ParseRequestURI(q.Target)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	for _, h := range q.Headers {
		header.Add(h[0], h[1])
	}
	// As net/http's checkValidHTTP2RequestHeaders: such a request is answered by 400 before any handler.
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
		if _, ok := header[name]; ok {
			return nil, errors.New("not valid in HTTP/2: " + name)
		}
	}
	r := &http.Request{Method: q.Method, URL: u, RequestURI: q.Target, Header: header, Proto: "HTTP/2.0", ProtoMajor: 2, Body: http.NoBody}
	if len(body) > 0 {
		r.ContentLength = -1
		if lengths := header["Content-Length"]; len(lengths) > 0 {
			n, err := strconv.ParseUint(lengths[0], 10, 63)
			if err != nil {
				n = 0
			}
			// Sending more than was declared, or less, ends the stream.
			if uint64(len(body)) != n {
				return nil, io.ErrUnexpectedEOF
			}
			r.ContentLength = int64(n)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r, nil
}
