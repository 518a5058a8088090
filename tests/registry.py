"""A registry that misbehaves by the name of the repository.

    registry.py PORT NAME [CERTIFICATE KEY [AUTHORITY-OF-CLIENTS]]

It has one image, under every repository and tag, and does with it what the first part of the repository says. What it
was asked goes to standard output, a line per request: the method, the path, and the credentials, if any.
"""

import base64
import hashlib
import http.server
import io
import json
import ssl
import sys
import tarfile
import time

PORT, NAME = int(sys.argv[1]), sys.argv[2]
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def layer():
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        content = b"content" * 5000
        entry = tarfile.TarInfo("from")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


LAYER = layer()
CONFIG = json.dumps({
    "architecture": "amd64", "os": "linux", "config": {"Labels": {"from": NAME}},
    "rootfs": {"type": "layers", "diff_ids": [digest(LAYER)]},
}).encode()
MANIFEST = json.dumps({
    "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
    "config": {"mediaType": CONFIG_TYPE, "size": len(CONFIG), "digest": digest(CONFIG)},
    "layers": [{"mediaType": LAYER_TYPE, "size": len(LAYER), "digest": digest(LAYER)}],
}).encode()
FOUND = [
    {"name": "team/one", "description": "first\nline of many words, more than a table has room for", "star_count": 12,
     "is_official": True, "is_automated": True},
    {"name": "two", "description": "", "star_count": 2, "is_official": False, "is_automated": False},
]


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        print(self.command, self.path, self.headers.get("Authorization", "-"), flush=True)
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[0] == "v1":
            return self.search(parts)
        if len(parts) < 4:
            allowed = NAME != "private" or self.headers.get("Authorization") == BASIC
            return self.answer(200, b"{}") if allowed else self.unauthorized()
        word, kind, target = parts[1], parts[-2], parts[-1]
        if kind == "blobs":
            return self.blob(word, target)
        act = getattr(self, "manifest_" + word.replace("-", "_"), None)
        act() if act else self.manifest()

    # Manifests.

    def manifest(self):
        self.answer(200, MANIFEST, MANIFEST_TYPE)

    def manifest_html(self):
        self.answer(200, b"<!DOCTYPE html><html><body>Sign in</body></html>", "text/html")

    def manifest_garbage(self):
        self.answer(200, b"{", MANIFEST_TYPE)

    def manifest_private(self):
        self.manifest() if self.headers.get("Authorization") == BASIC else self.unauthorized()

    def manifest_s401(self):
        self.answer(401, refusal("UNAUTHORIZED", "authentication required"))

    def manifest_s403(self):
        self.answer(403, refusal("DENIED", "requested access to the resource is denied"))

    def manifest_s404(self):
        self.answer(404, refusal("MANIFEST_UNKNOWN", "manifest unknown"))

    def manifest_s404name(self):
        self.answer(404, refusal("NAME_UNKNOWN", "repository name not known to registry"))

    def manifest_s404plain(self):
        self.answer(404, b"404 page not found\n", "text/plain")

    def manifest_s429(self):
        self.answer(429, refusal("TOOMANYREQUESTS", "You have reached your pull rate limit."))

    def manifest_s500(self):
        self.answer(500, b"boom", "text/plain")

    def manifest_s503(self):
        self.answer(503, b"")

    def manifest_s400(self):
        self.answer(400, b"what?", "text/plain")

    def manifest_mute(self):
        time.sleep(3600)

    def manifest_hangup(self):
        self.close_connection = True

    # Blobs.

    def blob(self, word, target):
        content = LAYER if target == digest(LAYER) else CONFIG
        act = getattr(self, "blob_" + word.replace("-", "_"), None)
        if act and content is LAYER:
            return act(content)
        if word == "badconfig":
            content = content.replace(b"linux", b"Linux")
        self.answer(200, content, "application/octet-stream")

    def blob_cut(self, content):
        self.head(200, "application/octet-stream", len(content))
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def blob_short(self, content):
        self.answer(200, content[: len(content) // 2], "application/octet-stream")

    def blob_corrupt(self, content):
        self.answer(200, content[:-1] + b"x", "application/octet-stream")

    def blob_bhtml(self, content):
        self.answer(200, b"<html>", "text/html")

    def blob_b401(self, _):
        self.answer(401, refusal("UNAUTHORIZED", "authentication required"))

    def blob_b403(self, _):
        self.answer(403, refusal("DENIED", "requested access to the resource is denied"))

    def blob_b404(self, _):
        self.answer(404, refusal("BLOB_UNKNOWN", "blob unknown to registry"))

    def blob_b429(self, _):
        self.answer(429, refusal("TOOMANYREQUESTS", "You have reached your pull rate limit."))

    def blob_b500(self, _):
        self.answer(500, b"boom", "text/plain")

    def blob_moved(self, _):
        self.send_response(307)
        self.send_header("Location", "http://127.0.0.1:5002" + self.path.replace("moved", "elsewhere"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    # Searching.

    def search(self, parts):
        if parts[1] == "_ping":
            return self.answer(404, b"")
        if "q=broken" in self.path:
            return self.answer(200, b"<html>", "text/html")
        if "q=missing" in self.path:
            return self.answer(404, b"{}")
        self.answer(200, json.dumps({"num_results": 2, "results": FOUND}).encode())

    # Answers.

    def unauthorized(self):
        self.answer(401, refusal("UNAUTHORIZED", "authentication required"), challenge='Basic realm="here"')

    def answer(self, status, body, kind="application/json", challenge=None):
        self.head(status, kind, len(body), challenge, digest(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def head(self, status, kind, length, challenge=None, content=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if kind == MANIFEST_TYPE:
            self.send_header("Docker-Content-Digest", content)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()


def refusal(code, message):
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Registry)
server.daemon_threads = True
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    if len(sys.argv) > 5:
        context.load_verify_locations(sys.argv[5])
        context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
