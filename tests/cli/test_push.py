"""`tfopt push` against a hub on this machine that speaks the hub's protocol: repositories, preupload and commit."""

import base64
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.detail_examples import BY_TYPE
from tfopt.errors import InputError
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.usage import Usage
from tfopt.report import hub

RECIPE = """\
name: digits
model: /home/me/projects/digits.py:build
data: digits
stages:
- train: {epochs: 1}
- quantize: {name: int8}
"""


class Hub(BaseHTTPRequestHandler):
    """What a push asks of the hub; everything that it was asked is in `server.asked`."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = [json.loads(line) for line in body.splitlines() if line]
        self.server.asked.append((self.path, asked, self.headers.get("Authorization")))
        if self.server.refuses:
            self.answer(self.server.refuses, {"error": "you may not"})
        elif self.path == "/api/repos/create":
            self.answer(200, {"url": f"{self.server.address}/me/digits", "name": "me/digits"})
        elif self.path.endswith("/preupload/main"):
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked[0]["files"]
            ]
            self.answer(200, {"files": modes})
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        else:
            address = f"{self.server.address}/me/digits/commit/0a1b"
            self.answer(200, {"commitUrl": address, "commitOid": "0a1b", "success": True})

    def answer(self, code, record):
        content = json.dumps(record).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """The hub, with which the client talks."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    server.asked, server.refuses = [], None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", server.address, raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run(tmp_path):
    """The folder of a run with a Keras model and a file of it."""
    folder = tmp_path / "digits"
    train = Artifact("train", "train", folder / "train", "model.keras", "keras", "a", ("source",), {"accuracy": 0.96})
    train = replace(train, scores=("accuracy",))
    int8 = Artifact("int8", "quantize", folder / "int8", "model.tflite", "tflite", "b", ("train",), {"raw_bytes": 4.0})
    for artifact in (train, replace(int8, details=[BY_TYPE[Usage]])):
        artifact.folder.mkdir(parents=True)
        artifact.path.write_bytes(b"TFL3")
        artifact.write()
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def test_a_run_is_one_commit_of_file_card_page_and_recipe(cli, server, run):
    code, out, err = cli("push", run, "me/digits", "--license", "apache-2.0", "--private", "-m", "First")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"pushed  {server.address}/me/digits/commit/0a1b"
    asked = {where: (lines, who) for where, lines, who in server.asked}
    [made], who = asked["/api/repos/create"]
    assert (made["organization"], made["name"], made["visibility"]) == ("me", "digits", "private")
    assert who == "Bearer hf_mine"
    lines, _ = asked["/api/models/me/digits/commit/main"]
    assert lines[0]["value"]["summary"] == "First"
    sent = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines[1:]}
    assert set(sent) == {"model.tflite", "README.md", "report.html", "recipe.yaml"}
    assert sent["model.tflite"] == b"TFL3"
    assert sent["README.md"].startswith(b"---\nlicense: apache-2.0\n")
    assert b"/home/me" not in b"".join(sent.values())


def test_a_dry_run_says_what_would_go_and_asks_the_hub_nothing(cli, server, run):
    code, out, _ = cli("push", run, "me/digits", "--dry-run")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()][:4] == list(hub.files_for_hub(run))
    assert out.splitlines()[-1] == "nothing was pushed to me/digits: --dry-run"
    record = json.loads(cli("push", run, "me/digits", "--dry-run", "--json")[1])
    assert record["files"]["model.tflite"] == 4
    assert record["commit"] is None
    assert not server.asked


def test_a_hub_that_refuses_is_a_line_with_the_way_out(cli, server, run):
    server.refuses = 403
    code, out, err = cli("push", run, "me/digits")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "(403)" in err
    assert "hf auth login" in err


def test_a_hub_that_is_not_there_is_a_line(cli, server, run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", "http://127.0.0.1:9", raising=False)
    code, out, err = cli("push", run, "me/digits")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("the hub does not take me/digits: ")


@pytest.mark.parametrize("name", ["me/you/digits", "me/di gits", ""])
def test_a_name_that_is_no_repository_is_refused_before_the_run_is_read(cli, tmp_path, name):
    code, _, err = cli("push", tmp_path / "nothing", name)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "me/digits" in err


def test_a_run_without_a_file_has_nothing_to_push(run):
    (run / "int8" / "artifact.json").unlink()
    with pytest.raises(InputError, match=r"no \.tflite"):
        hub.files_for_hub(run)
