"""Code of a network that changed since its artifact was saved: what is noticed, and what still loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recipelang.errors import Refusal
from recipelang.surgery import artifact, source
from recipelang.surgery.codebase import read_code
from tests.models.python_files import BUILD, NET, build, scale


def test_a_changed_helper_is_noticed_when_an_artifact_is_loaded(
    write: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write({"net.py": NET + "from helper import SCALE" + BUILD, "helper.py": "SCALE = 3"})
    artifact.save(build("net.py:build", folder), folder / "out")
    assert scale(artifact.load(folder / "out", trust=True)) == 3
    (folder / "helper.py").write_text("SCALE = 4")
    with pytest.raises(Refusal, match=r"`helper.py`, which `net.py` imports, has changed") as caught:
        artifact.load(folder / "out", trust=True)
    assert caught.value.code == "RCP0715"
    monkeypatch.setattr(source, "_seen", {})
    (folder / "helper.py").unlink()
    with pytest.raises(Refusal, match=r"`helper.py`, which `net.py` imports to build the network, is missing"):
        artifact.load(folder / "out", trust=True)
    (folder / "out/net.py").write_text((folder / "net.py").read_text())
    (folder / "out/helper.py").write_text("SCALE = 3")
    (folder / "net.py").unlink()
    assert scale(artifact.load(folder / "out", trust=True)) == 3


def test_a_module_that_comes_to_be_is_noticed(write: Callable[[dict[str, str]], Path]) -> None:
    text = NET + "try:\n    from fast import SCALE\nexcept ImportError:\n    SCALE = 3\n" + BUILD
    folder = write({"net.py": text})
    artifact.save(build("net.py:build", folder), folder / "out")
    (folder / "fast.py").write_text("SCALE = 4")
    with pytest.raises(Refusal, match=r"`net.py` imports the file `fast.py`, which did not exist"):
        artifact.load(folder / "out", trust=True)


def test_an_artifact_that_knows_its_python_file_alone_still_loads(write: Callable[[dict[str, str]], Path]) -> None:
    import hashlib
    import json

    folder = write({"net.py": NET + "from helper import SCALE" + BUILD, "helper.py": "SCALE = 3"})
    artifact.save(build("net.py:build", folder), folder / "out")
    model = json.loads((folder / "out/model.json").read_text())
    del model["source"]["files"]
    model["source"]["settings"]["digest"] = hashlib.sha256((folder / "net.py").read_bytes()).hexdigest()
    (folder / "out/model.json").write_text(json.dumps(model))
    assert scale(artifact.load(folder / "out", trust=True)) == 3


def test_a_digest_of_the_file_alone_is_not_enough(write: Callable[[dict[str, str]], Path]) -> None:
    import hashlib

    folder = write({"net.py": NET + "from helper import SCALE" + BUILD, "helper.py": "SCALE = 3"})
    alone = hashlib.sha256((folder / "net.py").read_bytes()).hexdigest()
    with pytest.raises(Refusal, match=r"is that of `net.py` alone, and the file imports `helper.py`") as caught:
        build("net.py:build", folder, digest=alone)
    digest = read_code(folder / "net.py").digest
    assert digest in caught.value.help
    assert scale(build("net.py:build", folder, digest=digest)) == 3
