"""A server that answers as Hugging Face's hub does, as far as uploading and downloading small files takes."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub_server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Serve one repository; yields the endpoint and its files by name."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(self, content: object, status: int = 200, **headers: str) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.endswith("/repos/create"):
                self.answer({"url": f"http://{self.headers['Host']}/org/name", "id": "org/name", "name": "org/name"})
            elif self.path.endswith("/validate-yaml"):
                self.answer({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                asked = json.loads(body)["files"]
                self.answer(
                    {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
                )
            elif "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.answer(
                    {
                        "commitUrl": f"http://{self.headers['Host']}/org/name/commit/{COMMIT}",
                        "commitOid": COMMIT,
                        "success": True,
                    }
                )
            else:
                self.answer({}, 404)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if "/resolve/" in path and (content := files.get(path.rpartition("/")[2])) is not None:
                digest = hashlib.sha256(content).hexdigest()
                self.answer(content, ETag=f'"{digest}"', X_Linked_Etag=f'"{digest}"', X_Linked_Size=str(len(content)))
            elif "/tree/" in path:
                self.answer([{"type": "file", "path": n, "size": len(c), "oid": COMMIT} for n, c in files.items()])
            elif "/api/models/org/name" in path and files:
                self.answer({"id": "org/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})
            else:
                self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")

        def do_HEAD(self) -> None:
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", files
        finally:
            server.shutdown()
