"""`python docs/site/gallery.py RUN…`: a page in docs/gallery/ for each finished run of a recipe in recipes/gallery/.

The page is the run's `report.md` in short: the recipe, the result, the expectations, the comparison and its first
chart, with the machine and the date. Nothing in it is written by hand; an introduction is the comment that the recipe
begins with.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = ROOT / "docs" / "gallery"
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_DETAILS = re.compile(r"<details>.*?</details>\n*", re.DOTALL)
_IMAGE = re.compile(r"!\[([^\]]*)\]\(figures/([\w-]+\.svg)\)\n\n(\*[^\n]*\*\n)")


def page(run: Path) -> str:
    """The page of a run; its first chart is copied beside the pages."""
    recipe = (run / "recipe.rcp").read_text(encoding="utf-8")
    head = re.match(r"(?:#.*\n)+", recipe)
    told = " ".join(line.lstrip("# ") for line in head[0].splitlines()) if head else ""
    report = (run / "report.md").read_text(encoding="utf-8")
    parts = _SECTION.split(report)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    record = json.loads((run / "report.json").read_text(encoding="utf-8"))
    name = record["title"]
    result = "\n".join(line for line in parts[0].splitlines() if line.startswith("- "))
    comparison, chart = _DETAILS.sub("", sections["Comparison"]), ""
    if image := _IMAGE.search(comparison):
        shutil.copy(run / "figures" / image[2], PAGES / f"{name}.svg")
        chart = f"![{image[1]}]({name}.svg)\n\n{image[3]}\n"
    lines = [
        f"<!-- Printed by docs/site/gallery.py from a run of recipes/gallery/{name}.rcp. -->",
        f"# {name}",
        told,
        f"```recipe\n{recipe[head.end() if head else 0 :].rstrip()}\n```",
        "## Result",
        result,
        *([f"## Expectations\n{sections['Expectations'].rstrip()}"] if "Expectations" in sections else []),
        "## Comparison",
        _IMAGE.sub("", comparison).strip(),
        chart.rstrip(),
        f"Run on {machine(record['environment'])}.",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def machine(there: dict[str, str]) -> str:
    """What a run was made on, and when."""
    gpu = "no GPU" if there["gpu"] == "none" else there["gpu"]
    return (
        f"{there['cores']} cores of an {there['cpu']} shared with other work, {gpu}, {there['threads']} thread, "
        f"torch {there['torch'].split('+')[0]}, {there['date'].split()[0]}"
    )


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for given in sys.argv[1:]:
        text = page(Path(given))
        place = PAGES / f"{re.findall(r'^# (.+)$', text, re.MULTILINE)[0]}.md"
        place.write_text(text, encoding="utf-8")
        print(place)
