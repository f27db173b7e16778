"""HTTP servers on unix sockets: the engines and plugins that tests make up.

  unix_http.py SOCKET JSON    answers each POST with this, until it is killed
"""
import http.server
import json
import socketserver
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    # A client of such a socket has no address.
    def address_string(self):
        return "unix"


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


class Always(Handler):
    """Says the same to everything."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(self.server.said)


if __name__ == "__main__":
    with Server(sys.argv[1], Always) as server:
        server.said = json.loads(sys.argv[2])
        server.serve_forever()
