"""Print what recipelang needs to check, format and compare, one requirement a line: all but what networks need.

Usage: requirements.py PYPROJECT
"""

import re
import sys
import tomllib

#: gigabytes with their own dependencies, and used by a run alone
OF_A_RUN = {"safetensors", "scikit-learn", "scipy", "torch", "torchvision"}


def light(pyproject: str) -> list[str]:
    """The requirements without those of a run.

    Args:
        pyproject: the text of the project's pyproject.toml.
    """
    needed = tomllib.loads(pyproject)["project"]["dependencies"]
    return [one for one in needed if re.split(r"[\s<>=!~;\[]", one)[0] not in OF_A_RUN]


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print("\n".join(light(file.read())))
