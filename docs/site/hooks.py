"""What `make site` does besides Markdown: files from outside docs/ become pages, and fences say what is special.

The same Markdown is read in the repository and in the site, so that nothing is written twice:

- A link from docs/ to a file of the repository leads to a page of the site that shows the file.
- A fence may carry `file="net.py"`, `wrong="first.rcp"` or `needs="a GPU"` after its language (tests/guides/ says what
  these mean); the site shows them as the title of the block.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
#: pages that lie elsewhere: file of the repository → page of the site
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
#: files that pages link to, shown as pages: ending → language of the block
SHOWN = {".rcp": "recipe", ".py": "python", ".json": "json", ".yml": "yaml", ".yaml": "yaml"}

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^(?P<mark>```+)(?P<language>[\w-]+) (?P<rest>[^`\n]*)$", re.MULTILINE)
_KEY = re.compile(r'(\w+)="([^"]*)"')


def on_config(config: Any) -> Any:
    """Let `folder/*.md` in the navigation stand for the pages of a folder in order, but for its README.md."""
    folder = Path(config.docs_dir)

    def expanded(entries: list[Any]) -> list[Any]:
        found: list[Any] = []
        for entry in entries:
            if isinstance(entry, dict):
                found.append({name: expanded(at) if isinstance(at, list) else at for name, at in entry.items()})
            elif entry.endswith("/*.md"):
                pages = (path for path in sorted(folder.glob(entry)) if path.stem != "README")
                found += [path.relative_to(folder).as_posix() for path in pages]
            else:
                found.append(entry)
        return found

    config.nav = expanded(config.nav)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside docs/ and is a page or is linked from one."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    texts = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    for uri, text in texts:
        for match in _LINK.finditer(text):
            target = _outside(uri, match[1])
            if target and target not in PAGES and files.get_file_from_path(_page(target)) is None:
                files.append(File.generated(config, _page(target), content=_shown(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links at the pages of the site, and give fences their titles."""
    uri = page.file.src_uri

    def link(match: re.Match[str]) -> str:
        target = _outside(uri, match[1])
        if target is None:
            return match[0]
        there = _page(target)
        return posixpath.relpath(there, posixpath.dirname(uri) or ".") + (match[2] or "")

    return _FENCE.sub(_titled, _LINK.sub(link, markdown))


def _outside(uri: str, link: str) -> str | None:
    """The file of the repository that a link of a page leads to, where it is not a page in docs/."""
    origin = {page: source for source, page in PAGES.items()}.get(uri)
    folder = posixpath.dirname(origin) if origin else posixpath.join("docs", posixpath.dirname(uri))
    target = posixpath.normpath(posixpath.join(folder, link))
    if origin and target.startswith("docs/"):
        return target
    if target.startswith(("docs/", "../")) or target == "docs" or not (ROOT / target).is_file():
        return None
    return target


def _page(target: str) -> str:
    """Where the site shows a file of the repository."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return PAGES.get(target) or f"files/{target}.md"


def _shown(path: Path) -> str:
    """A page that is one file."""
    language = SHOWN.get(path.suffix, "text")
    text = path.read_text(encoding="utf-8").rstrip()
    return f"---\nhide: [toc]\n---\n\n# {path.name}\n\n````{language}\n{text}\n````\n"


def _titled(match: re.Match[str]) -> str:
    """A fence with the keys of ours → one that the highlighter knows."""
    keys = dict(_KEY.findall(match["rest"]))
    if not keys.keys() & {"file", "wrong", "needs"}:
        return match[0]
    title = keys.get("file") or keys.get("wrong") or ""
    title += f"{' · ' if title else ''}needs {keys['needs']}" if "needs" in keys else ""
    return f'{match["mark"]}{match["language"]} title="{title}"'
