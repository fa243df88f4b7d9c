"""What of a run can be published, and its way to a hub on this machine."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

import tersely
from tersely.core.digests import note_checkpoint
from tersely.core.errors import ConfigError, DataError
from tersely.flows.published import (
    check_model,
    check_revision,
    checkpoints_of,
    find_checkpoint,
    list_files,
)

NOWHERE = "http://127.0.0.1:9"
OURS = ("config.json", "model.safetensors", "tokenizer.json", "optimizer.pt", "state.json")


def model_at(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names or OURS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of a test")
    return folder


def test_the_checkpoints_of_every_engine_are_found_by_their_step(tmp_path: Path) -> None:
    for name, step in (("ours/checkpoints/step-000020", 20), ("verl/checkpoints/global_step_7", 7)):
        (tmp_path / name).mkdir(parents=True)
        assert [*checkpoints_of(tmp_path / name.split("/")[0])] == [step]
    # TRL counts updates; the step is in our note, which is written once the checkpoint is whole.
    whole = model_at(tmp_path / "trl" / "checkpoints" / "checkpoint-8")
    (whole / "tersely.json").write_text('{"step": 4, "target": {}}')
    model_at(tmp_path / "trl" / "checkpoints" / "checkpoint-16")
    assert checkpoints_of(tmp_path / "trl") == {4: whole}


def test_a_step_that_is_not_kept_is_refused_with_those_that_are(tmp_path: Path) -> None:
    for step in (8, 100, 9):
        model_at(tmp_path / "checkpoints" / f"step-{step:06d}")
    model_at(tmp_path / "checkpoints" / "step-000200.tmp")
    assert find_checkpoint(tmp_path, None)[0] == 100
    with pytest.raises(ConfigError, match=r"^--checkpoint 10: .* kept: 8, 9, 100$"):
        find_checkpoint(tmp_path, 10)
    with pytest.raises(ConfigError, match="holds no checkpoint of a run; give a run folder"):
        find_checkpoint(tmp_path / "elsewhere", None)


def test_a_trainer_s_state_is_not_published(tmp_path: Path) -> None:
    published = ["README.md", "adapter/adapter_config.json", "chat_template.jinja", "config.json",
                 "generation_config.json", "model-00001-of-00002.safetensors",
                 "model.safetensors.index.json", "modeling_own.py", "special_tokens_map.json",
                 "tokenizer.json", "tokenizer_config.json", "vocab.json"]  # fmt: skip
    state = ["optimizer.pt", "state.json", "digests.json", "tersely.json", "scheduler.pt",
             "rng_state.pth", "rng_state_3.pth", "scaler.pt", "trainer_state.json", "latest",
             "training_args.bin", "optimizer.bin", "global_step8/mp_rank_00_model_states.pt",
             "optimizer_0/__0_0.distcp", "pytorch_model_fsdp_0/__0_0.distcp", "zero_to_fp32.py",
             ".cache/huggingface/x", ".lock", "model.safetensors.tmp"]  # fmt: skip
    folder = model_at(tmp_path / "model", *published, *state)
    assert [file.name for file in list_files(folder)] == sorted(published)


def test_shards_and_damaged_files_are_refused(tmp_path: Path) -> None:
    shards = model_at(tmp_path / "shards", "config.json")
    with pytest.raises(ConfigError, match=r"holds no whole weights; merge its shards"):
        check_model(shards)
    with pytest.raises(ConfigError, match="is no model folder"):
        check_model(tmp_path)
    damaged = model_at(tmp_path / "damaged")
    note_checkpoint(damaged)
    check_model(damaged)
    (damaged / "model.safetensors").write_text("model.safetensors of a text")
    with pytest.raises(DataError, match="SHA-256 differs"):
        check_model(damaged)


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as an upload of small files asks for."""

    repositories: ClassVar[dict[str, bool]] = {}
    branches: ClassVar[list[str]] = []
    files: ClassVar[dict[str, bytes]] = {}
    tokens: ClassVar[set[str | None]] = set()

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models/")
        if name not in self.repositories:
            self._answer({"error": "Repository not found"}, status=404)
            return
        self._answer({"id": name, "private": self.repositories[name], "sha": "0" * 40})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.tokens.add(self.headers.get("authorization"))
        if self.headers.get("authorization") != "Bearer hf_right":
            self._answer({"error": "Invalid username or password."}, status=401)
        elif self.path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given.get('organization', 'me')}/{given['name']}"
            private = bool(given.get("private") or given.get("visibility") == "private")
            if name in self.repositories:
                self._answer({"error": "exists", "url": self._place(name)}, status=409)
                return
            self.repositories[name] = private
            self._answer({"url": self._place(name), "id": name})
        elif "/branch/" in self.path:
            self.branches.append(self.path.rpartition("/")[2])
            self._answer({})
        elif "/preupload/" in self.path:
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for each in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    self.files[value["path"]] = base64.b64decode(value["content"])
            self._answer({"commitUrl": self._place("me/short/commit/1"), "commitOid": "1" * 40,
                          "success": True, "pullRequestUrl": None})  # fmt: skip
        else:
            self._answer({"errors": [], "warnings": []})

    def _place(self, name: str) -> str:
        return f"http://{self.headers['host']}/{name}"

    def _answer(self, content: dict[str, Any], *, status: int = 200) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[str]:
    for kept in (Hub.repositories, Hub.branches, Hub.files, Hub.tokens):
        kept.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def push(*arguments: object, endpoint: str = NOWHERE, **own: str) -> Any:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
        "PYTHONPATH": str(Path(tersely.__file__).parents[1]),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": "/nonexistent",
        "HF_HUB_DISABLE_XET": "1",
        **own,
    }
    return subprocess.run(
        [sys.executable, "-m", "tersely", "push", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_checkpoint_goes_to_a_private_branch_without_its_state(hub: str, tmp_path: Path) -> None:
    model_at(tmp_path / "run" / "checkpoints" / "step-000020", *OURS, "README.md")
    done = push(tmp_path / "run", "me/short", "--private", "--revision", "short-1",
                endpoint=hub, HF_TOKEN="hf_right")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"uploaded: {hub}/me/short/commit/1"
    assert Hub.repositories == {"me/short": True}
    assert Hub.branches == ["short-1"]
    assert {*Hub.files} == {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
    assert Hub.files["config.json"] == b"config.json of a test"


def test_a_public_repository_gets_nothing_that_was_to_be_private(hub: str, tmp_path: Path) -> None:
    model = model_at(tmp_path / "model", *OURS, "README.md")
    Hub.repositories["me/short"] = False
    done = push(model, "me/short", "--private", endpoint=hub, HF_TOKEN="hf_right")
    assert done.returncode == 2
    assert "me/short is there already and public" in done.stderr
    assert Hub.files == {}


def test_a_dry_run_lists_the_files_and_asks_no_hub(hub: str, tmp_path: Path) -> None:
    model = model_at(tmp_path / "model")
    done = push(model, "me/short", "--dry-run", endpoint=hub)
    assert done.returncode == 0
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    # "config.json of a test" has 21 bytes, "model.safetensors of a test" 27, the third 24.
    assert lines[:3] == [
        ["21", "config.json"],
        ["27", "model.safetensors"],
        ["24", "tokenizer.json"],
    ]
    assert lines[3][:1] == ["72"]
    assert "tersely card writes one" in done.stderr
    assert not Hub.tokens
    assert not Hub.repositories


@pytest.mark.parametrize(
    ("given", "own", "code", "said"),
    [
        ("me/short", {}, 2, "there is no token for the hub; run hf auth login, or set HF_TOKEN"),
        ("me/short", {"HF_TOKEN": "hf_wrong"}, 1, "the hub refused me/short (401): Invalid"),
        ("me/short", {"HF_TOKEN": "hf_x", "HF_ENDPOINT": NOWHERE}, 1, f"hub at {NOWHERE} failed"),
        ("me/short", {"HF_TOKEN": "hf_x", "HF_HUB_OFFLINE": "1"}, 2, "HF_HUB_OFFLINE is set"),
        ("short", {}, 2, "'short' is no repository of the hub; give OWNER/NAME"),
        ("me/short//x", {}, 2, "is no repository of the hub"),
        ("https://huggingface.co/me/short", {}, 2, "is no repository of the hub"),
    ],
)  # fmt: skip
def test_what_keeps_an_upload_back_is_one_line(
    hub: str, tmp_path: Path, given: str, own: dict[str, str], code: int, said: str
) -> None:
    model = model_at(tmp_path / "model", *OURS, "README.md")
    done = push(model, given, "--quiet", **{"endpoint": hub, **own})
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert Hub.files == {}


@pytest.mark.parametrize(
    "name",
    ["", "@", "-a", "a b", "a\n", "a..b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.", "a@{"],
)
def test_a_revision_that_git_would_not_have_is_refused(name: str) -> None:
    check_revision("feature/short-v1.2")
    with pytest.raises(ConfigError, match=r"is no name of a branch; write letters"):
        check_revision(name)
