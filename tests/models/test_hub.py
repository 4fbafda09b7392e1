"""Downloads: from a real server on this machine that speaks the hub's protocol."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sa2va_cli.errors import CheckpointError, UsageError
from sa2va_cli.models.sa2va.hub import config_folder, locate, looks_like_hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "ByteDance/Sa2VA-Tiny"
FORBIDDEN = {"modeling_sa2va_chat.py": b"raise SystemExit(9)", "pytorch_model.bin": b"\x80\x04."}


class Hub(http.server.BaseHTTPRequestHandler):
    """Just enough of the hub: repository info, file tree, and files."""

    folder: Path
    requested: list[str]

    def do_HEAD(self):
        self.reply(with_body=False)

    def do_GET(self):
        self.reply(with_body=True)

    def reply(self, *, with_body):
        path = urlsplit(self.path).path
        prefix = f"/{REPO}/resolve/{COMMIT}/"
        if path.startswith(f"/api/models/{REPO}/tree/"):
            self.send_json(
                [
                    {"type": "file", "path": n, "size": len(b), "oid": digest(b)}
                    for n, b in self.files().items()
                ]
            )
        elif path.startswith(f"/api/models/{REPO}"):
            siblings = [{"rfilename": name} for name in self.files()]
            self.send_json({"id": REPO, "sha": COMMIT, "siblings": siblings, "private": False})
        elif path.startswith(prefix) and path.removeprefix(prefix) in self.files():
            self.send_file(path.removeprefix(prefix), with_body=with_body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def files(self):
        return {p.name: p.read_bytes() for p in sorted(self.folder.iterdir())} | FORBIDDEN

    def send_json(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, name, *, with_body):
        self.requested.append(name)
        body = self.files()[name]
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{digest(body)}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def digest(body):
    return hashlib.sha1(body).hexdigest()


@contextmanager
def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hub(golden_checkpoint):
    handler = type("GoldenHub", (Hub,), {"folder": golden_checkpoint, "requested": []})
    with serve(handler) as endpoint:
        yield endpoint, handler.requested


def run(code, endpoint, home, **extra):
    """A process of its own: the hub's client reads its settings when it is imported."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HTTP", "http"))}
    environment |= {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        **extra,
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


LOAD = f"from sa2va_cli import Sa2VA; print(Sa2VA.from_pretrained({REPO!r}, device='cpu').revision)"


def info_of(name):
    return (
        f"import sys; sys.argv = ['sa2va', 'model', 'info', {name!r}]\n"
        "from sa2va_cli.cli.app import main; main()"
    )


@pytest.mark.timeout(900)  # three processes load torch
def test_a_hub_model_is_downloaded_loaded_and_then_used_offline(hub, tmp_path):
    endpoint, requested = hub
    done = run(LOAD, endpoint, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == COMMIT
    assert "model.safetensors" in requested and "config.json" in requested
    assert all(name.endswith((".json", ".txt", ".safetensors")) for name in requested)
    assert not [path for name in FORBIDDEN for path in tmp_path.rglob(name)]

    count = len(requested)
    offline = run(LOAD, endpoint, tmp_path, HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    local = LOAD.replace("device='cpu'", "device='cpu', local_files_only=True")
    assert run(local, endpoint, tmp_path).returncode == 0
    assert len(requested) == count


def test_info_of_a_hub_model_downloads_its_config_only(hub, tmp_path):
    endpoint, requested = hub
    done = run(info_of(REPO), endpoint, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Qwen2ForCausalLM, 3 layers x 64" in done.stdout
    assert set(requested) == {"config.json"}


def test_a_dry_run_of_a_hub_model_downloads_its_config_only(hub, tmp_path):
    endpoint, requested = hub
    (tmp_path / "in").mkdir()
    job = ["annotate", str(tmp_path / "in"), "-p", "a dog", "-o", str(tmp_path / "out")]
    job += ["--model", REPO, "--devices", "cpu", "--dry-run"]
    code = f"import sys; sys.argv = {['sa2va', *job]}\nfrom sa2va_cli.cli.app import main; main()"
    done = run(code, endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 items to do with 1 worker on cpu")
    assert set(requested) == {"config.json"}


def test_a_model_the_hub_does_not_have_is_a_usage_error(hub, tmp_path):
    endpoint, _ = hub
    done = run(info_of("no/body"), endpoint, tmp_path)
    assert done.returncode == 2
    assert "Cannot get model 'no/body'" in done.stderr and "Traceback" not in done.stderr


def test_a_download_that_breaks_off_is_told(golden_checkpoint, tmp_path):
    class BreaksOff(Hub):
        folder, requested = golden_checkpoint, []

        def send_file(self, name, *, with_body):
            if name == "model.safetensors" and with_body:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhalf")
                self.close_connection = True
            else:
                super().send_file(name, with_body=with_body)

    with serve(BreaksOff) as endpoint:
        code = (
            "from sa2va_cli.cli.guard import run_guarded\n"
            "from sa2va_cli.models.sa2va.hub import locate\n"
            f"run_guarded(lambda: locate({REPO!r}, None, local_files_only=False))"
        )
        done = run(code, endpoint, tmp_path)
    assert done.returncode == 2
    assert f"Error: Cannot get model '{REPO}'" in done.stderr and "Traceback" not in done.stderr


def test_offline_an_unknown_model_is_refused_at_once(tmp_path):
    with pytest.raises(CheckpointError, match="Cannot get model 'ByteDance/Sa2VA-Nowhere'"):
        locate("ByteDance/Sa2VA-Nowhere", None, local_files_only=True)


@pytest.mark.parametrize(
    "path",
    [
        "./missing",
        "/no/such/folder",
        "missing",
        "a/b/c",
        "~/x",
        "a/b/",
        "~nobody-of-this-name/x",
        "n" * 300,
    ],
)
def test_a_missing_path_is_not_looked_for_on_the_hub(path):
    assert not looks_like_hub_name(path)
    with pytest.raises(CheckpointError, match="No model folder"):
        locate(path, None, local_files_only=False)


@pytest.mark.parametrize("find", [locate, config_folder])
@pytest.mark.parametrize("here", ["demo", "."])
def test_the_revision_of_a_folder_is_a_mistake_and_not_ignored(find, here):
    with pytest.raises(UsageError, match="is a folder here: it has no revision 'v2'"):
        find(here, "v2", local_files_only=True)


def test_a_file_is_no_checkpoint_folder(golden_checkpoint):
    with pytest.raises(CheckpointError, match="is a file"):
        locate(str(golden_checkpoint / "model.safetensors"), None, local_files_only=False)


def test_the_revision_of_a_folder_follows_its_content(golden_checkpoint, tmp_path):
    import shutil

    copy = shutil.copytree(golden_checkpoint, tmp_path / "copy")
    first = locate(str(copy), None, local_files_only=True).revision
    assert first == locate(str(golden_checkpoint), None, local_files_only=True).revision
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert locate(str(copy), None, local_files_only=True).revision != first
