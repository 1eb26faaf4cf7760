"""A local, in-memory Hugging Face Hub for tests: one file, standard library only.

An unmodified ``huggingface_hub`` client (1.31 to 2.x) publishes and loads models and data sets through it
without a network. Flows: ``whoami``, ``create_repo`` (private, ``exist_ok``, 403 in a foreign namespace),
``upload_folder``, ``upload_file`` and ``create_commit`` (regular and LFS files, deletions, unchanged files
left out, ``parent_commit``, ``create_pr`` if Xet is off, a shallow check of the card), ``create_tag`` and branches,
``hf_hub_download`` and ``snapshot_download`` (branch, tag or commit; byte ranges), ``model_info``,
``dataset_info``, ``list_repo_files``, ``list_repo_refs``. Errors: missing repository, revision or file;
private; gated (401 or 403); refused token; conflict; stale parent; injected with ``fail_next``; answers that break
off (``cut_next``) or stop half-way (``hold_next``); unreachable after ``close``.

    with HubServer() as hub:  # 127.0.0.1, a free port
        api = HfApi(endpoint=hub.url, token=hub.token)
        api.create_repo("tester/dcgan")
        hub.add_repo("other/faces", {"a.jpg": b"..."}, kind="datasets").gated = True
        assert ".gitattributes" in hub.repos["models", "tester/dcgan"].read()

``HubServer(lfs=False)`` takes all files inside the commit and asks nothing of the client.
``HubServer(lfs=True)`` sends large and binary files through LFS: the client must then run with
``HF_HUB_DISABLE_XET=1`` (or without ``hf_xet``), because the Xet protocol is not served.
From a shell, ``python hub_server.py 8471`` prints what to export for the ``hf`` command.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import socket
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REGULAR_MAX = 10 * 1024 * 1024  # a larger file is LFS, whatever its name
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".npy", ".npz", ".parquet", ".zip", ".png", ".jpg")


@dataclasses.dataclass(frozen=True)
class Blob:
    """The content of one file in one commit."""

    data: bytes
    lfs: bool = False

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @functools.cached_property
    def git_oid(self) -> str:
        """The git blob id: of the content or, for LFS, of the pointer that git stores instead."""
        body = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"
        return text.format(self.sha256, len(self.data)).encode()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_oid


@dataclasses.dataclass
class Repo:
    """One repository. A test may change ``private``, ``gated`` and ``granted`` at any time."""

    kind: str  # "models", "datasets" or "spaces"
    repo_id: str
    private: bool = False
    gated: bool = False
    granted: bool = True  # the holder of the token has been given access to the gated files
    commits: dict[str, dict[str, Blob]] = dataclasses.field(default_factory=dict)
    history: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # (sha, title), oldest first
    branches: dict[str, str] = dataclasses.field(default_factory=dict)  # a pull request is "refs/pr/N"
    tags: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def path(self) -> str:  # its place in a URL: a model's id stands bare
        return self.repo_id if self.kind == "models" else f"{self.kind}/{self.repo_id}"

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit id names."""
        sha = self.branches.get(revision) or self.tags.get(revision)
        return sha or (revision if revision in self.commits else None)

    def commit(self, branch: str, files: dict[str, Blob], title: str) -> str:
        """Put a commit with exactly these files on a branch; return its id."""
        tree = "".join(f"{name}\0{blob.git_oid}\n" for name, blob in sorted(files.items()))
        sha = hashlib.sha1(f"{self.path}\0{len(self.history)}\0{title}\0{tree}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        self.history.append((sha, title))
        return sha

    def read(self, revision: str = "main") -> dict[str, bytes]:
        """The files at a revision, for assertions."""
        return {name: blob.data for name, blob in self.commits[self.resolve(revision) or revision].items()}


@dataclasses.dataclass(eq=False)
class HubError(Exception):
    """Raised by a route: becomes a status with the Hub's ``X-Error-*`` headers."""

    status: int
    message: str
    code: str | None = None


@dataclasses.dataclass
class Reply:
    body: Any = b""  # bytes are sent as they are, everything else as JSON
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class HubServer:
    """The server: its repositories, its log of requests and the failures to inject."""

    def __init__(self, lfs: bool = True, port: int = 0, token: str = "hf_test", user: str = "tester") -> None:
        self.token, self.user, self.lfs = token, user, lfs
        self.namespaces = {user}  # where the token may write: add an organisation's name to allow it
        self.role = "write"  # of the token; with "read" it may not write anywhere
        self.repos: dict[tuple[str, str], Repo] = {}  # by kind and id
        self.objects: dict[str, bytes] = {}  # the LFS store, by sha256
        self.requests: list[str] = []  # "METHOD /path -> status"
        self.complaints: list[str] = []  # what is wrong with every card
        self.failures: list[tuple[str, int]] = []  # (pattern, status), each used once
        self.cuts: list[tuple[str]] = []
        self.holds: list[tuple[str]] = []
        self.holding, self.released = threading.Event(), threading.Event()
        self.connections: set[socket.socket] = set()
        self.lock = threading.RLock()
        self.httpd = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"

    def __enter__(self) -> HubServer:
        serve = functools.partial(self.httpd.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, name="hub-server", daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop and cut the connections that clients keep open: the Hub is then unreachable."""
        self.released.set()
        self.httpd.shutdown()
        self.httpd.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def add_repo(self, repo_id: str, files: dict[str, bytes] | None = None, kind: str = "models") -> Repo:
        """Create a repository directly, in any namespace."""
        self.repos[kind, repo_id] = repo = Repo(kind, repo_id)
        content = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"} | (files or {})
        blobs = {name: Blob(data, self.is_lfs(name, len(data))) for name, data in content.items()}
        repo.commit("main", blobs, "initial commit")
        return repo

    def is_lfs(self, name: str, size: int) -> bool:
        return self.lfs and (size > REGULAR_MAX or name.endswith(LFS_SUFFIXES))

    def fail_next(self, pattern: str, status: int, times: int = 1) -> None:
        """Answer the next requests whose "METHOD /path" the pattern is found in with this status."""
        self.failures += [(pattern, status)] * times

    def cut_next(self, pattern: str, times: int = 1) -> None:
        """Send half of the next answers to such requests, then cut the connection."""
        self.cuts += [(pattern,)] * times

    def hold_next(self, pattern: str) -> None:
        """Send half of the next answer to such a request and set ``holding``; the rest follows ``released``."""
        self.holds.append((pattern,))


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms between its head and its body

    def handle(self) -> None:
        self.hub.connections.add(self.connection)
        with contextlib.suppress(ConnectionError):  # a client that went away is no news
            super().handle()
        self.hub.connections.discard(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _dispatch(self) -> None:
        url = urlsplit(self.path)
        self.query, self.body = parse_qs(url.query), self._read_body()
        self.line = f"{self.command} {url.path}"
        try:
            with self.hub.lock:
                reply = self._route(self.line)
        except HubError as error:
            code = {"X-Error-Code": error.code} if error.code else {}
            text = error.message.encode("ascii", "replace").decode()  # a header holds nothing else
            reply = Reply({"error": error.message}, error.status, code | {"X-Error-Message": text})
        except Exception as error:  # a malformed request or a fault in this file: say so and keep serving
            traceback.print_exc()
            reply = Reply({"error": f"{type(error).__name__}: {error}"}, 500)
        self.hub.requests.append(f"{self.command} {self.path} -> {reply.status}")
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _dispatch  # noqa: N815  # names that the base class calls

    def _route(self, line: str) -> Reply:
        if failure := self._take(self.hub.failures):
            raise HubError(failure[1], "injected failure")
        for pattern, name in _ROUTES:
            if match := re.fullmatch(pattern, line):
                arguments = {key: unquote(value) for key, value in match.groupdict().items() if value}
                return getattr(self, name)(**arguments)  # type: ignore[no-any-return]
        raise HubError(404, f"no route for {line}", "RouteNotFound")

    def _take(self, wanted: list[Any]) -> Any:
        """The first entry whose pattern is found in this request, removed from its list."""
        with self.hub.lock:
            found = next((entry for entry in wanted if re.search(entry[0], self.line)), None)
            if found:
                wanted.remove(found)
            return found

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []  # the client streams the body of a PUT in chunks
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, reply: Reply) -> None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        kind = "application/octet-stream" if body is reply.body else "application/json"
        self.send_response(reply.status)
        for key, value in {"Content-Type": kind, "Content-Length": len(body), **reply.headers}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self._write(body)

    def _write(self, body: bytes) -> None:
        half = len(body) // 2
        if self._take(self.hub.cuts):
            self.wfile.write(body[:half])
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif self._take(self.hub.holds):
            self.wfile.write(body[:half])
            self.hub.holding.set()
            self.hub.released.wait()
            self.wfile.write(body[half:])
        else:
            self.wfile.write(body)

    def _authorised(self) -> bool:
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {self.hub.token}"):
            raise HubError(401, "Invalid credentials in Authorization header")
        return given is not None

    def _need_token(self, namespace: str | None = None) -> None:
        if not self._authorised():
            raise HubError(401, "Invalid username or password.")
        if namespace and (namespace not in self.hub.namespaces or self.hub.role == "read"):
            raise HubError(403, f'You have no right to write under the namespace "{namespace}"')

    def _repo(self, kind: str, repo_id: str, write: bool = False) -> Repo:
        repo, known = self.hub.repos.get((kind, repo_id)), self._authorised()
        if repo is None or (repo.private and not known):
            raise HubError(404 if known else 401, "Repository not found", "RepoNotFound")
        if write:
            self._need_token(repo_id.split("/")[0])
        return repo

    def _files(self, repo: Repo, revision: str) -> tuple[str, dict[str, Blob]]:
        if (sha := repo.resolve(revision)) is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, repo.commits[sha]

    def whoami(self) -> Reply:
        self._need_token()
        orgs = [{"type": "org", "name": name} for name in sorted(self.hub.namespaces - {self.hub.user})]
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.hub.role}}
        return Reply({"type": "user", "name": self.hub.user, "orgs": orgs, "auth": auth})

    def create_repo(self) -> Reply:
        spec = json.loads(self.body)
        namespace, kind = spec.get("organization") or self.hub.user, spec.get("type", "model") + "s"
        self._need_token(namespace)
        repo_id = f"{namespace}/{spec['name']}"
        if old := self.hub.repos.get((kind, repo_id)):  # exist_ok=True reads the "url" of the refusal
            return Reply({"error": "You already created this repo", "url": f"{self.hub.url}/{old.path}"}, 409)
        repo = self.hub.add_repo(repo_id, kind=kind)
        repo.private = spec.get("visibility") == "private" or bool(spec.get("private"))
        return Reply({"url": f"{self.hub.url}/{repo.path}", "name": repo_id})

    def info(self, kind: str, repo_id: str, revision: str = "main") -> Reply:
        repo = self._repo(kind, repo_id)
        sha, files = self._files(repo, revision)
        return Reply({
            "id": repo_id, "modelId": repo_id, "author": repo_id.split("/")[0], "sha": sha, "tags": [],
            "siblings": [{"rfilename": name} for name in sorted(files)], "likes": 0, "downloads": 0,
            "private": repo.private, "gated": "auto" if repo.gated else False, "disabled": False,
            "createdAt": "2026-01-01T00:00:00.000Z", "lastModified": "2026-01-01T00:00:00.000Z",
        })  # fmt: skip

    def tree(self, kind: str, repo_id: str, revision: str) -> Reply:
        """All files, as with ``recursive=true``; without "xetHash" the client downloads over plain HTTP."""
        rows: list[dict[str, Any]] = []
        for name, blob in sorted(self._files(self._repo(kind, repo_id), revision)[1].items()):
            rows.append({"type": "file", "path": name, "oid": blob.git_oid, "size": len(blob.data)})
            if blob.lfs:
                pointer = len(blob.pointer)
                rows[-1]["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": pointer}
        return Reply(rows)

    def refs(self, kind: str, repo_id: str) -> Reply:
        def rows(part: str, names: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{part}/{n}", "targetCommit": sha} for n, sha in names.items()]

        repo = self._repo(kind, repo_id)
        heads = {name: sha for name, sha in repo.branches.items() if not name.startswith("refs/")}
        return Reply({"branches": rows("heads", heads), "tags": rows("tags", repo.tags), "converts": []})

    def create_tag(self, kind: str, repo_id: str, revision: str) -> Reply:
        repo, name = self._repo(kind, repo_id, write=True), json.loads(self.body)["tag"]
        if name in repo.tags:
            raise HubError(409, f"Tag {name} already exists")
        repo.tags[name] = self._files(repo, revision)[0]
        return Reply({})

    def create_branch(self, kind: str, repo_id: str, revision: str) -> Reply:
        repo = self._repo(kind, repo_id, write=True)
        if revision in repo.branches:
            raise HubError(409, f"Branch {revision} already exists")
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        repo.branches[revision] = self._files(repo, start)[0]
        return Reply({})

    def validate_yaml(self) -> Reply:
        """Only asks for a closed metadata block: the standard library cannot read YAML."""
        lines = json.loads(self.body)["content"].splitlines()
        warnings = [] if lines[:1] == ["---"] else [{"message": "missing yaml metadata in repo card"}]
        errors = [] if warnings or "---" in lines[1:] else [{"message": "the metadata block is not closed"}]
        errors += [{"message": text} for text in self.hub.complaints]
        return Reply({"errors": errors, "warnings": warnings}, 400 if errors else 200)

    def preupload(self, kind: str, repo_id: str, revision: str) -> Reply:
        sha, files = self._files(self._repo(kind, repo_id, write=True), revision)
        rows = []
        for file in json.loads(self.body)["files"]:
            name, old = file["path"], files.get(file["path"])
            mode = "lfs" if self.hub.is_lfs(name, file["size"]) else "regular"
            oid = old.etag if old else None  # equal to the local file's: the client leaves the file out
            rows.append({"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Reply({"files": rows, "commitOid": sha})

    def lfs_batch(self, repo_id: str, kind: str = "models") -> Reply:
        self._repo(kind, repo_id, write=True)
        rows = []
        for wanted in json.loads(self.body)["objects"]:
            rows.append(row := {"oid": wanted["oid"], "size": wanted["size"]})
            if wanted["oid"] not in self.hub.objects:  # without "actions" the client uploads nothing
                row["actions"] = {"upload": {"href": f"{self.hub.url}/_lfs/{wanted['oid']}"}}
        return Reply({"transfer": "basic", "objects": rows})

    def lfs_put(self, oid: str) -> Reply:  # a signed URL on the real Hub: it comes without a token
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, "the content does not match its oid")
        self.hub.objects[oid] = self.body
        return Reply()

    def commit(self, kind: str, repo_id: str, revision: str) -> Reply:
        repo, pull = self._repo(kind, repo_id, write=True), "create_pr" in self.query
        parent, head = self._files(repo, revision)
        if not pull and revision not in repo.branches:
            raise HubError(400, f"{revision} is not a branch")
        files, title = dict(head), ""
        for line in self.body.splitlines():  # NDJSON
            key, value = (item := json.loads(line))["key"], item["value"]
            if key == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, parent) and not pull:
                    raise HubError(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise HubError(400, f"the LFS object {value['oid']} was not uploaded")
                files[value["path"]] = Blob(self.hub.objects[value["oid"]], lfs=True)
            elif key in ("deletedFile", "deletedFolder"):
                gone = value["path"].rstrip("/")
                files = {name: old for name, old in files.items() if not f"{name}/".startswith(f"{gone}/")}
            else:
                raise HubError(400, f"unknown operation {key}")
        number = 1 + sum(name.startswith("refs/pr/") for name in repo.branches)
        page = f"{self.hub.url}/{repo.path}"
        sha = repo.commit(f"refs/pr/{number}" if pull else revision, files, title)
        answer = {"success": True, "commitOid": sha, "commitUrl": f"{page}/commit/{sha}"}
        return Reply(answer | ({"pullRequestUrl": f"{page}/discussions/{number}"} if pull else {}))

    def file(self, repo_id: str, revision: str, path: str, kind: str = "models") -> Reply:
        repo = self._repo(kind, repo_id)
        if repo.gated and not (repo.granted and self._authorised()):
            raise HubError(403 if self._authorised() else 401, "Access is restricted.", "GatedRepo")
        sha, files = self._files(repo, revision)
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if (blob := files.get(path)) is None:  # with the commit on it, the client caches the absence
            missing = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return Reply(b"Entry not found", 404, headers | missing)
        headers["ETag"] = f'"{blob.etag}"'
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        wanted, size = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")), len(blob.data)
        if wanted is None or int(wanted[1]) >= size:
            return Reply(blob.data, 200, headers)
        start, end = int(wanted[1]), min(int(wanted[2] or size), size - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        return Reply(blob.data[start : end + 1], 206, headers)


_ID, _REV = r"(?P<repo_id>[^/]+/[^/]+)", r"/(?P<revision>[^/]+)"  # quoted: refs%2Fpr%2F1
_API, _GIT = rf"/api/(?P<kind>models|datasets|spaces)/{_ID}", rf"/(?:(?P<kind>datasets|spaces)/)?{_ID}"
_ROUTES = [  # tried in order
    (r"GET /api/whoami-v2", "whoami"),
    (r"POST /api/repos/create", "create_repo"),
    (r"POST /api/validate-yaml", "validate_yaml"),
    (rf"GET {_API}(?:/revision{_REV})?", "info"),
    (rf"GET {_API}/tree{_REV}", "tree"),
    (rf"GET {_API}/refs", "refs"),
    (rf"POST {_API}/tag{_REV}", "create_tag"),
    (rf"POST {_API}/branch{_REV}", "create_branch"),
    (rf"POST {_API}/preupload{_REV}", "preupload"),
    (rf"POST {_API}/commit{_REV}", "commit"),
    (rf"POST {_GIT}\.git/info/lfs/objects/batch", "lfs_batch"),
    (r"PUT /_lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    (rf"(?:GET|HEAD) {_GIT}/resolve{_REV}/(?P<path>.+)", "file"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve an empty in-memory Hub on 127.0.0.1.")
    parser.add_argument("port", nargs="?", type=int, default=8471)
    parser.add_argument("--no-lfs", action="store_true", help="take all files inside the commit")
    options = parser.parse_args()
    with HubServer(port=options.port, lfs=not options.no_lfs) as hub, contextlib.suppress(KeyboardInterrupt):
        print(f"export HF_ENDPOINT={hub.url} HF_TOKEN={hub.token} HF_HUB_DISABLE_XET=1", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
