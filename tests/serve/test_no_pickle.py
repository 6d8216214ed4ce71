"""No pickle: none in the code, none accepted."""

from __future__ import annotations

import ast
import contextlib
import io
from pathlib import Path

import pytest
import torch
from serving import form, post, raw, service, serving

import worldr1

_ROOT = Path(worldr1.__file__).parent
_REPOSITORY = Path(__file__).resolve().parents[2]
_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
_CALLS = {"torch.load", "torch.save", "torch.package", "pandas.read_pickle", "np.load", "numpy.load"}
_CONVERTER = "rewards/hpsv3_convert.py"
"""Run by hand, in a process of its own, to get rid of another project's pickled weights; see its own test below."""


def uses(source: str) -> set[str]:
    """The unpickling modules and calls in a source text."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in _MODULES}
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in _MODULES:
                found.add(node.module)
            found |= {f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in _CALLS}
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in _CALLS:
            found.add(ast.unparse(node))
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.add("allow_pickle")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.x",
        "import torch\ntorch.load(f)",
        "from torch import load",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert uses(source)


def test_no_module_of_the_package_can_unpickle() -> None:
    files = sorted(_ROOT.rglob("*.py"))
    assert len(files) > 100
    found = {path.relative_to(_ROOT).as_posix(): uses(path.read_text("utf-8")) for path in files}
    assert {name: what for name, what in found.items() if what} == {_CONVERTER: {"torch.load"}}


def test_no_file_of_the_repository_imports_an_unpickling_module() -> None:
    files = sorted(path for room in ("src", "tests", "benchmarks") for path in (_REPOSITORY / room).rglob("*.py"))
    assert Path(__file__).resolve() in files
    found = {path.relative_to(_REPOSITORY).as_posix(): uses(path.read_text("utf-8")) - _CALLS for path in files}
    assert {name: what for name, what in found.items() if what} == {}


def test_the_converter_of_foreign_weights_runs_no_code_of_theirs_and_nothing_imports_it() -> None:
    source = (_ROOT / _CONVERTER).read_text("utf-8")
    loads = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "torch.load"]
    assert loads
    assert all("weights_only=True" in ast.unparse(call) for call in loads)
    for path in _ROOT.rglob("*.py"):
        assert "import hpsv3_convert" not in path.read_text("utf-8")
        assert "rewards.hpsv3_convert import" not in path.read_text("utf-8")


def _bomb(target: Path, protocol: int) -> bytes:
    """A pickle, written by hand, that makes the folder `target` when it is read: os.mkdir is called with its name."""
    head = b"" if protocol < 2 else bytes([0x80, protocol])
    return head + b"cos\nmkdir\n(V" + str(target).encode("ascii") + b"\ntR."


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", range(6))
async def test_a_pickle_is_refused_wherever_it_is_put(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    bomb = _bomb(mark, protocol)
    async with serving(service()) as client:
        as_video = await post(client, bomb)
        as_field = await client.post("/v1/scores", data={"request": bomb}, files={"video": raw()})
        as_body = await client.post("/v1/scores", content=bomb)
        disguised = [await post(client, head + bomb) for head in (b"\0\0\0\x18ftypisom", _length(bomb) + b"{")]
        typed = await client.post(
            "/v1/scores", **{**form(raw()), "files": {"video": ("a.pkl", bomb, "application/x-pickle")}}
        )
    for response in (as_video, as_field, as_body, *disguised, typed):
        assert 400 <= response.status_code < 500, response.text
    assert not mark.exists()
    with contextlib.suppress(RuntimeError):
        torch.load(io.BytesIO(bomb), weights_only=False)
    assert mark.exists(), "the bomb works"


def _length(payload: bytes) -> bytes:
    return len(payload).to_bytes(8, "little")
