"""A stand-in of the Hugging Face Hub on this machine, for its own client.

It keeps the files of each commit in memory. Only what the client asks for is there.
"""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

LARGE = (".skops", ".parquet")  # uploaded apart from the commit, by the LFS protocol


class Hub:
    """Repositories, each a list of commits: dicts from the path to the content."""

    def __init__(self):
        self.repositories = {}
        self.private = set()
        self.uploads = {}  # content by SHA-256, before it is committed
        self.requests = []
        self.fails_at = None  # part of the path of requests that are answered by 500

    def files(self, kind, name, revision="main"):
        commits = self.repositories[kind, name]
        if revision == "main":
            return commits[-1]
        return commits[int(revision, 16)]

    def sha(self, kind, name, revision="main"):
        last = len(self.repositories[kind, name]) - 1
        return f"{last if revision == 'main' else int(revision, 16):040x}"


@contextmanager
def running_hub(monkeypatch, cache):
    """A `Hub`, which the client in this process takes for the real one."""
    import datasets
    from huggingface_hub import constants

    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(hub))
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_test")
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _handler_of(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.answer()

        do_HEAD = do_POST = do_PUT = do_GET

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            if hub.fails_at and hub.fails_at in path:
                return self.send(400, {"error": "this request was to fail"})
            for method, pattern, function in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in method:
                    return function(self, body, **match.groupdict())
            return self.send(404, {"error": f"no {self.command} {path}"})

        def send(self, status, content, headers=()):
            if not isinstance(content, bytes):
                content = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {
                "Content-Length": str(len(content)),
                "Content-Type": "application/json",
                **dict(headers),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            return None

        def missing(self):
            headers = {"X-Error-Code": "RepoNotFound"}
            return self.send(404, {"error": "Repository not found"}, headers)

        def no_entry(self):
            headers = {"X-Error-Code": "EntryNotFound"}
            return self.send(404, {"error": "Entry not found"}, headers)

        def whoami(self, body):
            return self.send(200, {"name": "user", "type": "user", "auth": {}})

        def check_card(self, body):
            return self.send(200, {"warnings": [], "errors": []})

        def create(self, body):
            wanted = json.loads(body)
            kind = wanted.get("type") or "model"
            name = f"{wanted.get('organization') or 'user'}/{wanted['name']}"
            prefix = "" if kind == "model" else f"{kind}s/"
            url = {"url": f"http://{self.headers['Host']}/{prefix}{name}"}
            if (kind, name) in hub.repositories:
                return self.send(409, {"error": "You already created it", **url})
            hub.repositories[kind, name] = [{}]
            if wanted.get("visibility") == "private":
                hub.private.add(name)
            return self.send(200, url)

        def preupload(self, body, kind, name, revision):
            if (kind, name) not in hub.repositories:
                return self.missing()
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self.send(200, {"files": files})

        def batch(self, body, prefix, name):
            wanted = json.loads(body)["objects"]
            url = f"http://{self.headers['Host']}/upload/"
            objects = [
                {**o, "actions": {"upload": {"href": url + o["oid"], "header": {}}}}
                for o in wanted
            ]
            return self.send(200, {"transfer": "basic", "objects": objects})

        def upload(self, body, sha):
            assert hashlib.sha256(body).hexdigest() == sha
            hub.uploads[sha] = body
            return self.send(200, {})

        def commit(self, body, kind, name, revision):
            files = dict(hub.files(kind, name))
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    files[value["path"]] = hub.uploads[value["oid"]]
                elif entry["key"] in ("deletedFile", "deletedFolder"):
                    files.pop(value["path"], None)
            hub.repositories[kind, name].append(files)
            sha = hub.sha(kind, name)
            url = f"http://{self.headers['Host']}/{name}/commit/{sha}"
            return self.send(200, {"commitUrl": url, "commitOid": sha})

        def info(self, body, kind, name, revision="main"):
            if (kind, name) not in hub.repositories:
                return self.missing()
            files = hub.files(kind, name, revision)
            return self.send(
                200,
                {
                    "id": name,
                    "modelId": name,
                    "sha": hub.sha(kind, name, revision),
                    "private": name in hub.private,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                    "siblings": [{"rfilename": path} for path in files],
                },
            )

        def tree(self, body, kind, name, revision, folder=""):
            files = hub.files(kind, name, revision).items()
            found = [
                {"type": "file", "path": path, "size": len(content), "oid": "0"}
                for path, content in files
                if path.startswith(folder)
            ]
            return self.send(200, found) if found else self.no_entry()

        def resolve(self, body, name, revision, path, prefix=None):
            kind = "dataset" if prefix else "model"
            if (kind, name) not in hub.repositories:
                return self.missing()
            files = hub.files(kind, name, revision)
            if path not in files:
                return self.no_entry()
            content = files[path]
            headers = {
                "X-Repo-Commit": hub.sha(kind, name, revision),
                "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                "Content-Type": "application/octet-stream",
            }
            return self.send(200, content, headers)

    api = r"/api/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)"
    ROUTES = [
        ("GET", r"/api/whoami-v2", Handler.whoami),
        ("POST", r"/api/validate-yaml", Handler.check_card),
        ("POST", r"/api/repos/create", Handler.create),
        ("POST", api + r"/preupload/(?P<revision>.+)", Handler.preupload),
        ("POST", api + r"/commit/(?P<revision>.+)", Handler.commit),
        ("GET", api + r"/tree/(?P<revision>[^/]+)/?(?P<folder>.*)", Handler.tree),
        ("GET", api + r"/revision/(?P<revision>.+)", Handler.info),
        ("GET", api, Handler.info),
        (
            "POST",
            r"/(?P<prefix>datasets/)?(?P<name>.+)\.git/info/lfs/objects/batch",
            Handler.batch,
        ),
        ("PUT", r"/upload/(?P<sha>.+)", Handler.upload),
        (
            "GET HEAD",
            r"/(?P<prefix>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/"
            r"(?P<revision>[^/]+)/(?P<path>.+)",
            Handler.resolve,
        ),
    ]
    return Handler
