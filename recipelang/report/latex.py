"""Text for LaTeX: whatever it holds, it compiles with pdfLaTeX and is printed as it is."""

from __future__ import annotations

import re
import unicodedata

from recipelang.report.summary import CHOSEN, DOMINATED

#: what stands for a letter that LaTeX reads as a command, or that its fonts lack
_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\`{}", '"': r"''{}", "[": "{[}", "]": "{]}", "*": "{*}", "\0": "{}",
    "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "≈": r"$\approx$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$",
    "→": r"$\rightarrow$", "∞": r"$\infty$", "·": r"$\cdot$", "°": r"$^\circ$", "²": "$^2$", "³": "$^3$",
    "√": r"$\surd$", "∑": r"$\sum$", "…": r"\ldots{}", "–": "--", "—": "---", "‘": "`{}", "’": "'{}", "“": "``{}",
    "”": "''{}", "\u00a0": "~", CHOSEN: r"$\star$", DOMINATED: r"$\bigtriangledown$", "✓": r"$\surd$", "✗": r"$\times$",
    "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}",
    "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}", "§": r"\S{}", "¶": r"\P{}", "©": r"\copyright{}", "£": r"\pounds{}",
}  # fmt: skip
_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μµ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ",
    "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_SIGNS |= {sign: rf"$\{name}$" for name, signs in _GREEK.items() for sign in signs}
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
_JOINED = re.compile(r"-(?=-)|'(?=['\"])|,(?=,)|<(?=<)|>(?=>)|[?!](?=`)")  # pairs that would become one sign
LONGEST_RUN = 12  # letters without a place where a line may break


def latex(text: object) -> str:
    """Text as LaTeX that prints it: one line, no commands. A letter that no font of pdfLaTeX has is its number."""
    one_line = " ".join(unicodedata.normalize("NFC", str(text)).replace("\0", "").split())
    return "".join(map(_letter, _JOINED.sub(lambda match: f"{match[0]}\0", one_line)))


def _letter(letter: str) -> str:
    if letter in _SIGNS:
        return _SIGNS[letter]
    if letter.isascii():
        return letter if letter.isprintable() else ""
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        base = rf"\{parts[0]}" if parts[0] in "ij" else parts[0]
        return rf"\{_ACCENTS[parts[1]]}{{{base}}}"
    return rf"\texttt{{U+{ord(letter):04X}}}"


def broken(text: object) -> str:
    """The same where lines may break inside of long words."""
    words = str(text).split()
    return " ".join(r"\allowbreak{}".join(latex(part) for part in _parts(word)) for word in words)


def _parts(word: str) -> list[str]:
    """A word in parts between which it may break: after punctuation, and within a long run of letters."""
    if len(word) <= LONGEST_RUN:
        return [word]
    pieces = re.findall(r"[^=,_/:(\[]*[=,_/:(\[]?", word)
    return [piece[i : i + LONGEST_RUN] for piece in pieces if piece for i in range(0, len(piece), LONGEST_RUN)]
