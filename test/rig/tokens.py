#!/usr/bin/env python3
"""A registry token service for tests: basic auth in, signed token out. Standard library and openssl alone.

    tokens.py PORT DIR     DIR has tls.crt, tls.key (the service) and token.crt, token.key (what signs the tokens, RSA)

The user `owner` with the password `secret` gets what is asked for; `reader` with `readerpass` may pull; everybody else gets 401.
What was asked is told on standard output, one line each: user, scope, account.
"""
import base64
import json
import ssl
import subprocess
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PORT, DIR = int(sys.argv[1]), sys.argv[2]
USERS = {"owner": "secret", "reader": "readerpass"}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def access(scope, user):
    """`repository:localhost:5000/app:pull,push` has colons inside the name."""
    kind, rest = scope.split(":", 1)
    name, actions = rest.rsplit(":", 1)
    actions = [action for action in actions.split(",") if user == "owner" or action == "pull"]
    return {"type": kind, "name": name, "actions": actions}


def token(user, service, scopes):
    der = ssl.PEM_cert_to_DER_cert(open(f"{DIR}/token.crt").read())
    now = int(time.time())
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
    claims = {"iss": "loopback", "sub": user, "aud": service, "iat": now, "nbf": now - 10, "exp": now + 300,
              "jti": str(uuid.uuid4()), "access": [access(scope, user) for scope in scopes]}
    text = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    sign = ["openssl", "dgst", "-sha256", "-sign", f"{DIR}/token.key"]
    return text + "." + b64(subprocess.run(sign, input=text.encode(), check=True, capture_output=True).stdout)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        kind, _, secret = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(secret).decode().partition(":") if kind.lower() == "basic" else ("", "", "")
        scopes = [scope for value in query.get("scope", []) for scope in value.split()]
        print(user or "nobody", " ".join(scopes), query.get("account", [""])[0], flush=True)
        if USERS.get(user) != password:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps({"token": token(user, query.get("service", [""])[0], scopes), "expires_in": 300}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


service = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{DIR}/tls.crt", f"{DIR}/tls.key")
service.socket = context.wrap_socket(service.socket, server_side=True)
service.serve_forever()
