"""What a model's file imports from its folder: found before anything runs, imported for it alone, part of its hash."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recipelang.errors import Refusal
from tests.models.python_files import BUILD, LAZY, NET, build, names, scale

#: how the file imports its scale of 3 → the files of it that decide the result
HABITS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "beside": ("from helper import SCALE", {"helper.py": "SCALE = 3"}, ["helper.py"]),
    "through another": (
        "from outer import SCALE",
        {"outer.py": "from inner import SCALE", "inner.py": "SCALE = 3"},
        ["inner.py", "outer.py"],
    ),
    "a package": (
        "from pkg.blocks import SCALE",
        {"pkg/__init__.py": "", "pkg/blocks.py": "SCALE = 3"},
        ["pkg/__init__.py", "pkg/blocks.py"],
    ),
    "a package with relative imports": (
        "from pkg import SCALE",
        {"pkg/__init__.py": "from .deep.blocks import SCALE", "pkg/deep/blocks.py": "from ..base import SCALE",
         "pkg/base.py": "SCALE = 3"},
        ["pkg/__init__.py", "pkg/base.py", "pkg/deep/blocks.py"],
    ),
    "a folder without __init__": (
        "import parts.blocks\nSCALE = parts.blocks.SCALE",
        {"parts/blocks.py": "SCALE = 3"},
        ["parts/blocks.py"],
    ),
    "a submodule by name": (
        "from pkg import blocks as b\nSCALE = b.SCALE",
        {"pkg/__init__.py": "", "pkg/blocks.py": "SCALE = 3"},
        ["pkg/__init__.py", "pkg/blocks.py"],
    ),
    "everything of a package": (
        "from pkg import *\nSCALE = blocks.SCALE",
        {"pkg/__init__.py": "__all__ = ['blocks']", "pkg/blocks.py": "SCALE = 3"},
        ["pkg/__init__.py", "pkg/blocks.py"],
    ),
    "a literal name": (
        "import importlib\nSCALE = importlib.import_module('helper').SCALE",
        {"helper.py": "SCALE = 3"},
        ["helper.py"],
    ),
    "a literal name of a package": (
        "from importlib import import_module\nSCALE = import_module('pkg.blocks').SCALE",
        {"pkg/__init__.py": "", "pkg/blocks.py": "SCALE = 3"},
        ["pkg/__init__.py", "pkg/blocks.py"],
    ),
    "a name made at run time": (
        "import importlib\nSCALE = importlib.import_module('hel' + 'per').SCALE",
        {"helper.py": "SCALE = 3", "other.py": ""},
        ["helper.py", "other.py"],
    ),
    "a folder put into sys.path": (
        "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))\nfrom blocks import SCALE",
        {"lib/blocks.py": "SCALE = 3"},
        ["lib/blocks.py"],
    ),
    "under a condition": (
        "try:\n    from fast import SCALE\nexcept ImportError:\n    from slow import SCALE",
        {"slow.py": "SCALE = 3"},
        ["slow.py"],
    ),
    "a standard library's name": ("from statistics import SCALE", {"statistics.py": "SCALE = 3"}, ["statistics.py"]),
    "relative, without a package": ("from .helper import SCALE", {"helper.py": "SCALE = 3"}, ["helper.py"]),
    "in a circle": (
        "from one import SCALE",
        {"one.py": "import two\nSCALE = 3", "two.py": "import one, net"},
        ["one.py", "two.py"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("lazy", [False, True])
def test_imports_are_found_counted_and_work_at_the_top_and_in_forward(
    habit: str, lazy: bool, write: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    statement, others, counted = HABITS[habit]
    if lazy and "import *" in statement:
        pytest.skip("Python has no `import *` in a function")
    inside = statement.replace("\n", "\n            ")
    text = NET + (LAZY.replace("IMPORT", inside) if lazy else statement + "\n" + BUILD)
    folder = write({"net.py": text, **others, "unrelated/readme.txt": ""})
    path = list(sys.path)
    monkeypatch.setattr(sys, "path", list(path))
    network = build("net.py:build", folder)
    assert sys.path == path or (lazy and "sys.path" in statement)  # forward itself puts a folder there
    assert scale(network) == 3
    own = [name for name, module in sys.modules.items() if str(folder) in str(getattr(module, "__file__", ""))]
    assert own and all(name.startswith("_recipelang_user_") for name in own)
    assert sorted(names(folder, "net.py:build")[1:]) == counted and names(folder, "net.py:build")[0] == "net.py"
    assert list(network.source["files"])[0] == "net.py" and not list(folder.rglob("__pycache__"))

    # every counted file is part of the hash, by its contents
    before = network.source["settings"]["digest"]
    for name in counted:
        original = (folder / name).read_text()
        (folder / name).write_text(original.replace("SCALE = 3", "SCALE = 4") + "\n# changed\n")
        changed = build("net.py:build", folder)
        assert changed.source["settings"]["digest"] != before, name
        if "SCALE = 3" in original:
            assert scale(changed) == 4 and scale(network) == 3
        (folder / name).write_text(original)
    (folder / "unrelated/more.txt").write_text("x")
    assert build("net.py:build", folder).source["settings"]["digest"] == before


def test_a_file_that_imports_nothing_beside_it_keeps_the_hash_of_its_bytes(
    write: Callable[[dict[str, str]], Path],
) -> None:
    import hashlib

    folder = write({"net.py": NET + "SCALE = 5" + BUILD, "helper.py": "SCALE = 3"})
    digest = hashlib.sha256((folder / "net.py").read_bytes()).hexdigest()
    assert build("net.py:build", folder).source["settings"]["digest"] == digest
    assert names(folder, "net.py:build") == ["net.py"]


def test_two_folders_with_modules_of_one_name_each_get_their_own(write: Callable[[dict[str, str]], Path]) -> None:
    text = NET + LAZY.replace("IMPORT", "from helper import SCALE")
    folder = write({"a/net.py": text, "a/helper.py": "SCALE = 3", "b/net.py": text, "b/helper.py": "SCALE = 7"})
    first, second = build("a/net.py:build", folder), build("b/net.py:build", folder)
    assert (scale(first), scale(second), scale(first)) == (3, 7, 3)


def test_equal_code_that_reads_files_beside_it_is_not_shared_between_folders(
    write: Callable[[dict[str, str]], Path],
) -> None:
    text = NET + "from pathlib import Path\nSCALE = int((Path(__file__).parent / 'scale.txt').read_text())" + BUILD
    folder = write({"a/net.py": text, "a/scale.txt": "3", "b/net.py": text, "b/scale.txt": "7"})
    assert (scale(build("a/net.py:build", folder)), scale(build("b/net.py:build", folder))) == (3, 7)


@pytest.mark.parametrize("statement", ["from .helper import SCALE", "from nets.helper import SCALE"])
def test_a_file_inside_a_package_may_name_the_package(statement: str, write: Callable[[dict[str, str]], Path]) -> None:
    folder = write({"nets/__init__.py": "", "nets/net.py": NET + statement + BUILD, "nets/helper.py": "SCALE = 3"})
    network = build("nets/net.py:build", folder)
    assert scale(network) == 3
    assert set(names(folder, "nets/net.py:build")) == {"nets/net.py", "nets/helper.py", "nets/__init__.py"}


def test_relative_imports_lead_above_the_folder(write: Callable[[dict[str, str]], Path]) -> None:
    text = NET + "from ..common.scale import SCALE" + BUILD
    folder = write({"top/nets/net.py": text, "top/common/scale.py": "SCALE = 3"})
    assert scale(build("top/nets/net.py:build", folder)) == 3
    assert names(folder, "top/nets/net.py:build") == ["top/nets/net.py", "top/common/scale.py"]


def test_modules_on_pythonpath_count(write: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write({"nets/net.py": NET + "from common.scale import SCALE" + BUILD, "src/common/scale.py": "SCALE = 3"})
    monkeypatch.setenv("PYTHONPATH", str(folder / "src"))
    assert scale(build("nets/net.py:build", folder)) == 3
    assert names(folder, "nets/net.py:build") == ["nets/net.py", "src/common/scale.py"]


def test_code_from_outside_is_refused_by_name(write: Callable[[dict[str, str]], Path]) -> None:
    text = NET + "import sys\nsys.path.append('elsewhere')\nfrom scale import SCALE" + BUILD
    folder = write({"nets/net.py": text, "elsewhere/scale.py": "SCALE = 3"})
    with pytest.raises(Refusal, match=r"`net.py` imports `elsewhere/scale.py`, which is not in its folder") as caught:
        build("nets/net.py:build", folder)
    assert caught.value.code == "RCP0740" and "PYTHONPATH" in caught.value.help


def test_the_folder_above_may_be_put_into_sys_path(write: Callable[[dict[str, str]], Path]) -> None:
    text = NET + "import sys\nfrom pathlib import Path\nsys.path.append(str(Path(__file__).resolve().parents[1]))\n"
    folder = write({"nets/net.py": text + "from common.scale import SCALE" + BUILD, "common/__init__.py": "",
                    "common/scale.py": "from common.base import SCALE", "common/base.py": "SCALE = 3",
                    "common/unused.py": ""})  # fmt: skip
    network = build("nets/net.py:build", folder)
    assert scale(network) == 3
    counted = ["common/__init__.py", "common/base.py", "common/scale.py", "nets/net.py"]
    assert sorted(names(folder, "nets/net.py:build")) == counted


def test_environments_beside_the_code_do_not_count(write: Callable[[dict[str, str]], Path]) -> None:
    text = NET + "import sys\nsys.path.append('.')\nfrom helper import SCALE" + BUILD
    folder = write({
        "net.py": text, "helper.py": "SCALE = 3", "env/pyvenv.cfg": "", "env/lib/x.py": "", ".hidden/y.py": "",
        "lib/site-packages/z.py": "",
    })  # fmt: skip
    assert sorted(names(folder, "net.py:build")) == ["helper.py", "net.py"]
    assert scale(build("net.py:build", folder)) == 3


def test_a_folder_named_like_an_installed_package_is_not_taken_for_it(write: Callable[[dict[str, str]], Path]) -> None:
    folder = write({"net.py": NET + "import safetensors.torch\nimport torch\nSCALE = 3" + BUILD,
                    "safetensors/notes.py": "", "torch/notes.py": ""})  # fmt: skip
    assert scale(build("net.py:build", folder)) == 3
    assert names(folder, "net.py:build") == ["net.py"]


def test_a_file_named_like_what_it_imports(write: Callable[[dict[str, str]], Path]) -> None:
    folder = write(
        {"safetensors.py": NET + "import safetensors\nSCALE = 3" + BUILD, "my-net.v2.py": NET + "SCALE = 4" + BUILD}
    )
    assert scale(build("safetensors.py:build", folder)) == 3
    assert scale(build("my-net.v2.py:build", folder)) == 4


def test_a_file_that_imports_itself(write: Callable[[dict[str, str]], Path]) -> None:
    assert scale(build("net.py:build", write({"net.py": NET + "SCALE = 3\nimport net" + BUILD}))) == 3


def test_a_huge_folder_is_refused_where_all_of_it_would_count(
    write: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recipelang.surgery import codebase

    monkeypatch.setattr(codebase, "MOST_FILES", 5)
    text = NET + "import sys\nsys.path.append('.')\nSCALE = 3" + BUILD
    folder = write({"net.py": text, **{f"f{i}.py": "" for i in range(5)}})
    with pytest.raises(Refusal, match="too large: more than 5 Python files") as caught:
        build("net.py:build", folder)
    assert caught.value.code == "RCP0741"
