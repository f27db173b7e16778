// A registry that keeps the list of what points at an image (OCI 1.1), in memory: the one of go-containerregistry. Built by
// test/rig/tree.sh of Debian's sources, which have it as a library. It writes a line for each request.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "127.0.0.1:5000", "where it listens")
	certificate := flag.String("certificate", "", "file with its certificate")
	key := flag.String("key", "", "file with its key")
	flag.Parse()
	server := &http.Server{
		Addr:              *address,
		Handler:           registry.New(registry.WithReferrersSupport(true)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServeTLS(*certificate, *key))
}
