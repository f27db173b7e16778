#!/usr/bin/python3
"""Serves folders of test/fixtures/tuf over TLS: /CASE/PHASE/v2/REPOSITORY/_trust/tuf/NAME is CASE/PHASE/NAME.

A root is served by its hash as well, as by the real server, which the folders leave to it: `root.SHA256.json`.

    fixtures.py PORT FOLDER CERTIFICATE KEY
"""

import hashlib
import http.server
import pathlib
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        place, _, name = self.path.partition("/_trust/tuf/")
        file = pathlib.Path(sys.argv[2], *place.split("/")[1:3], *name.split("/"))
        root = file.with_name("root.json")
        if name.startswith("root.") and not file.exists() and root.is_file():
            is_asked = name == f"root.{hashlib.sha256(root.read_bytes()).hexdigest()}.json"
            file = root if is_asked else file
        is_file = bool(name) and ".." not in file.parts and file.is_file()
        body = file.read_bytes() if is_file else b""
        # `/v2/` is where clients ask whether they must say who they are.
        self.send_response(200 if is_file or self.path.endswith("/v2/") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
