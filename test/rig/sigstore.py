#!/usr/bin/env python3
"""A stand-in for Sigstore's services, for the suite: cosign signs with it as it does with the real ones.

    sigstore.py PORT DIR     serves on 127.0.0.1 until it is ended, and writes into DIR, the last one when it is ready:
                             trusted_root.json, signing_config.json; and the same into DIR/TWIN for each twin
    sigstore.py token ISSUER SUBJECT     print an identity token, signed by nobody

Fulcio (`/api/v2/signingCert`: a certificate of LIFE seconds for whatever name and issuer a token has, shown to a log of certificates), a transparency
log as Rekor v2 has it (`/api/v2/log/entries`), and timestamps by `openssl ts`. Formats are the real ones, keys are made anew at each start, and nobody
is asked who he is: what this shows is how signatures are made and verified, not how Sigstore finds out names.

A twin (`/TWIN/...`) is the same in all but one thing: its authority of certificates (fulcio), its log of certificates (ct), or its timestamps (stamps)
have the same names and another key. Whoever takes what they sign for good has not looked at that one thing.
"""
import base64
import copy
import datetime
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

LOG = "rekor.rig.test"
LIFE = 20
TWINS = ["fulcio", "ct", "stamps"]
ISSUER_V1 = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
SCTS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


def b64(data):
    return base64.b64encode(data).decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0, tzinfo=None)


def spki(key):
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def utf8(text):
    """DER, of a text below 128 bytes or of up to 255."""
    data = text.encode()
    return b"\x0c" + (bytes([len(data)]) if len(data) < 128 else b"\x81" + bytes([len(data)])) + data


def octets(data):
    return b"\x04" + (bytes([len(data)]) if len(data) < 128 else b"\x81" + bytes([len(data)])) + data


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "rig"), x509.NameAttribute(NameOID.COMMON_NAME, name)])


def usage(signs=False, certifies=False):
    return x509.KeyUsage(digital_signature=signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
                         key_agreement=False, key_cert_sign=certifies, crl_sign=certifies, encipher_only=False, decipher_only=False)


class Authority:
    """Whoever issues certificates: a root, and for leaves an intermediate."""

    def __init__(self, name, parent=None):
        self.key, self.name = ec.generate_private_key(ec.SECP256R1()), named(name)
        issuer = parent or self
        builder = x509.CertificateBuilder(issuer.name, self.name, self.key.public_key(), x509.random_serial_number(),
                                          now() - datetime.timedelta(hours=1), now() + datetime.timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0 if parent else 1), critical=True)
        builder = builder.add_extension(usage(certifies=True), critical=True)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())
        self.chain = [self.certificate] + (parent.chain if parent else [])

    def leaf(self, key, name, start, end, purpose, critical):
        """What a leaf says; it is signed once all is in it."""
        builder = x509.CertificateBuilder(self.name, name, key, x509.random_serial_number(), start, end)
        builder = builder.add_extension(usage(signs=True), critical=True)
        return builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=critical)


class Instance:
    def __init__(self, folder, port):
        self.folder, self.lock, self.leaves = folder, threading.Lock(), []
        self.make("fulcio")
        self.make("ct")
        self.make("stamps")
        self.log = ed25519.Ed25519PrivateKey.generate()
        raw = self.log.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.log_id = hashlib.sha256(LOG.encode() + b"\n\x01" + raw).digest()
        self.twins = {name: self.twin(name, port) for name in TWINS}
        self.tell(f"http://127.0.0.1:{port}")

    def make(self, part):
        """Its keys are new."""
        if part == "fulcio":
            self.fulcio = Authority("sigstore-intermediate", Authority("sigstore"))
        elif part == "ct":
            self.ct = ec.generate_private_key(ec.SECP256R1())
        else:
            self.stamps = Authority("stamps")
            self.make_stamper()

    def twin(self, part, port):
        """The same, log and all, but for this part."""
        twin = copy.copy(self)
        twin.folder = os.path.join(self.folder, part)
        os.makedirs(twin.folder, exist_ok=True)
        twin.make(part)
        twin.tell(f"http://127.0.0.1:{port}/{part}")
        return twin

    def tell(self, url):
        self.write("trusted_root.json", self.trusted_root())
        self.write("signing_config.json", self.signing_config(url))

    def write(self, name, value):
        part = os.path.join(self.folder, name + ".part")
        with open(part, "w") as file:
            json.dump(value, file, indent=1)
        os.rename(part, os.path.join(self.folder, name))

    def make_stamper(self):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self.stamps.leaf(key.public_key(), named("stamper"), now() - datetime.timedelta(hours=1),
                                   now() + datetime.timedelta(days=3650), ExtendedKeyUsageOID.TIME_STAMPING, True)
        self.stamper = builder.sign(self.stamps.key, hashes.SHA256())
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.tsa = tempfile.mkdtemp(dir=self.folder)
        for name, data in [("key", secret), ("crt", pem(self.stamper).encode()), ("chain", pem(self.stamps.certificate).encode()), ("serial", b"01\n")]:
            with open(f"{self.tsa}/{name}", "wb") as file:
                file.write(data)
        with open(f"{self.tsa}/conf", "w") as file:
            file.write(f"[tsa]\nserial={self.tsa}/serial\nsigner_cert={self.tsa}/crt\nsigner_key={self.tsa}/key\ncerts={self.tsa}/chain\n"
                       "signer_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256,sha384,sha512\naccuracy=secs:1\ness_cert_id_alg=sha256\n")

    def trusted_root(self):
        start = {"start": (now() - datetime.timedelta(hours=1)).isoformat() + "Z"}

        def log(url, key, key_id, details):
            return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": {"keyId": b64(key_id)},
                    "publicKey": {"rawBytes": b64(key), "keyDetails": details, "validFor": start}}

        def authority(url, chain):
            return {"subject": {"organization": "rig", "commonName": "rig"}, "uri": url, "validFor": start,
                    "certChain": {"certificates": [{"rawBytes": b64(der(one))} for one in chain]}}

        ct = spki(self.ct.public_key())
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(f"https://{LOG}", spki(self.log.public_key()), self.log_id, "PKIX_ED25519")],
            "certificateAuthorities": [authority("https://fulcio.rig.test", self.fulcio.chain)],
            "ctlogs": [log("https://ct.rig.test", ct, hashlib.sha256(ct).digest(), "PKIX_ECDSA_P256_SHA_256")],
            "timestampAuthorities": [authority("https://stamps.rig.test", [self.stamper] + self.stamps.chain)],
        }

    def signing_config(self, url):
        start = {"start": (now() - datetime.timedelta(hours=1)).isoformat() + "Z"}

        def service(path, version):
            return [{"url": url + path, "majorApiVersion": version, "validFor": start, "operator": "rig"}]

        return {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json", "caUrls": service("", 1), "rekorTlogUrls": service("", 2),
                "tsaUrls": service("/stamp", 1), "rekorTlogConfig": {"selector": "ANY"}, "tsaConfig": {"selector": "ANY"}}

    def certify(self, asked, bearer):
        """Fulcio's: the name and issuer that the token has."""
        claims = bearer.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        subject, issuer = claims.get("email") or claims["sub"], claims["iss"]
        key = serialization.load_pem_public_key(asked["publicKeyRequest"]["publicKey"]["content"].encode())
        name = x509.RFC822Name(subject) if "@" in subject and "://" not in subject else x509.UniformResourceIdentifier(subject)
        builder = self.fulcio.leaf(key, x509.Name([]), now() - datetime.timedelta(seconds=5), now() + datetime.timedelta(seconds=LIFE),
                                   ExtendedKeyUsageOID.CODE_SIGNING, False)
        builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.fulcio.key.public_key()), critical=False)
        builder = builder.add_extension(x509.UnrecognizedExtension(ISSUER_V1, issuer.encode()), critical=False)
        builder = builder.add_extension(x509.UnrecognizedExtension(ISSUER_V2, utf8(issuer)), critical=False)
        # What the log of certificates signs is the same certificate without its word in it (RFC 6962, 3.2).
        shown = builder.sign(self.fulcio.key, hashes.SHA256()).tbs_certificate_bytes
        ct_id = hashlib.sha256(spki(self.ct.public_key())).digest()
        at = struct.pack(">Q", int(datetime.datetime.now().timestamp() * 1000))
        issuer_key = hashlib.sha256(spki(self.fulcio.key.public_key())).digest()
        signed = b"\0\0" + at + b"\0\1" + issuer_key + struct.pack(">I", len(shown))[1:] + shown + b"\0\0"
        signature = self.ct.sign(signed, ec.ECDSA(hashes.SHA256()))
        sct = b"\0" + ct_id + at + b"\0\0" + b"\4\3" + struct.pack(">H", len(signature)) + signature
        scts = struct.pack(">H", len(sct) + 2) + struct.pack(">H", len(sct)) + sct
        builder = builder.add_extension(x509.UnrecognizedExtension(SCTS, octets(scts)), critical=False)
        leaf = builder.sign(self.fulcio.key, hashes.SHA256())
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": [pem(one) for one in [leaf] + self.fulcio.chain]}}}

    def enter(self, asked):
        """Rekor's, version 2."""
        request = asked["hashedRekordRequestV002"]
        verifier = request["signature"]["verifier"]
        kind = next(kind for kind in ("x509Certificate", "publicKey") if kind in verifier)
        body = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": {
            "data": {"algorithm": "SHA2_256", "digest": request["digest"]},
            "signature": {"content": request["signature"]["content"],
                          "verifier": {"keyDetails": verifier["keyDetails"], kind: {"rawBytes": verifier[kind]["rawBytes"]}}}}}}
        body = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
        with self.lock:
            index = len(self.leaves)
            self.leaves.append(hashlib.sha256(b"\0" + body).digest())
            leaves = list(self.leaves)
        root = root_of(leaves)
        note = f"{LOG}\n{len(leaves)}\n{b64(root)}\n"
        signature = b64(self.log_id[:4] + self.log.sign(note.encode()))
        return {"logIndex": str(index), "logId": {"keyId": b64(self.log_id)}, "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
                "integratedTime": "0", "canonicalizedBody": b64(body),
                "inclusionProof": {"logIndex": str(index), "treeSize": str(len(leaves)), "rootHash": b64(root),
                                   "hashes": [b64(one) for one in path_of(leaves, index)],
                                   "checkpoint": {"envelope": f"{note}\n\u2014 {LOG} {signature}\n"}}}

    def stamp(self, query):
        with self.lock, tempfile.NamedTemporaryFile(dir=self.tsa) as file:
            file.write(query)
            file.flush()
            made = subprocess.run(["openssl", "ts", "-reply", "-config", f"{self.tsa}/conf", "-section", "tsa", "-queryfile", file.name],
                                  check=True, stdout=subprocess.PIPE)
        return made.stdout


def inner(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def split(count):
    """The largest power of two below."""
    return 1 << ((count - 1).bit_length() - 1)


def root_of(leaves):
    """RFC 9162, 2.1.1."""
    if len(leaves) == 1:
        return leaves[0]
    at = split(len(leaves))
    return inner(root_of(leaves[:at]), root_of(leaves[at:]))


def path_of(leaves, index):
    if len(leaves) == 1:
        return []
    at = split(len(leaves))
    if index < at:
        return path_of(leaves[:at], index) + [root_of(leaves[at:])]
    return path_of(leaves[at:], index - at) + [root_of(leaves[:at])]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    instance = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, kind = 201, "application/json"
        instance, path = self.instance, self.path
        for name, twin in instance.twins.items():
            if path.startswith(f"/{name}/"):
                instance, path = twin, path[len(name) + 1:]
                break
        try:
            if path == "/stamp":
                answer, kind = instance.stamp(body), "application/timestamp-reply"
            elif path == "/api/v2/signingCert":
                answer, status = json.dumps(instance.certify(json.loads(body), self.headers["Authorization"])).encode(), 200
            elif path == "/api/v2/log/entries":
                answer = json.dumps(instance.enter(json.loads(body))).encode()
            else:
                answer, status = b"{}", 404
        except Exception as error:  # whatever it is, who asked is told
            print(f"{self.path}: {error!r}: {body[:2000]!r}", flush=True)
            answer, status = json.dumps({"message": repr(error)}).encode(), 400
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def token(issuer, subject):
    start = int(datetime.datetime.now().timestamp())
    claims = {"iss": issuer, "sub": subject, "aud": "sigstore", "iat": start, "nbf": start - 60, "exp": start + 600}
    if "@" in subject and "://" not in subject:
        claims.update(email=subject, email_verified=True)
    head = {"alg": "RS256", "typ": "JWT", "kid": "rig"}
    return ".".join([b64url(json.dumps(head).encode()), b64url(json.dumps(claims).encode()), b64url(b"nobody has signed this")])


if sys.argv[1] == "token":
    print(token(*sys.argv[2:]))
else:
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    Handler.instance = Instance(sys.argv[2], int(sys.argv[1]))
    server.serve_forever()
