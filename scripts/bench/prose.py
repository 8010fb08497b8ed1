"""Figures in the prose of README and docs/: what looks like one, and whether a page says what it should.

A figure is declared by the words around it, "rank 4 lost {:.1f} points", and the value that comes there; how
it is rounded is part of the words. What looks like a measured figure and is a setting, a definition or
somebody else's limit is declared by its words alone.
"""

import re
import string
from collections.abc import Iterable, Iterator
from typing import NamedTuple

NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
ALONE = r"(?<![\w.:/^-])"  # not a part of a name, of a version, of 1/8 or of 2^28
UNIT = r"(?: ?(?:%|ms|us|s|seconds?|minutes?|hours?|kB|MB|GB|MiB|GiB|GFLOP|images/s|points?|times)|x)(?!\w)"
FRACTION = r"(?:half|thirds?|quarters?|fifths?|sixths?|eighths?|tenths?)"
OF = r"(?:of (?:a|its|the|their) (?:arithmetic|bytes|memory|percent|time)|a point|longer|less|more|faster)"
LOOKS_MEASURED = re.compile(
    rf"{ALONE}{NUMBER}(?=(?:(?: to | and ){NUMBER})?{UNIT})"  # 2 to 3 points: both
    rf"|{ALONE}(?:\d+(?:,\d{{3}})*\.\d+|\d+(?:,\d{{3}})+|(?!20\d\d\b)\d{{3,}})(?![\w/]|\.\d)"
    rf"|\b{FRACTION}(?= {OF}\b)"
    r"|\b(?:twice|(?:two|three|four|five|ten) times)(?= as\b)"
)
COUNTED = r"(?:channels|classes|images(?! a second|/)|photographs|pictures|pixels|steps|workers)"
VERSIONED = r"(?:LibTorch|Open MPI|Pillow|Pillow-SIMD|PyTorch|Ubuntu|buildah|torchvision|version)"
# What was set, asked for or given: a link's rate, a size, a ratio, a count; and the numbers in names.
NEVER_MEASURED = re.compile(
    rf"(?:{NUMBER}(?: to |, | and ))*{NUMBER} [MG]bit/s"
    r"|\b\d+x\d+\b"
    r"|\b(?:compact|ratio) \d\.\d+|\bshort side (?:of )?\d+|\buser \d+"
    rf"|(?:{NUMBER} to )?{NUMBER}\s{COUNTED}\b"
    rf"|\b{VERSIONED} \d+(?:\.\d+)+"
)
# Code, defaults of options (another test compares them), generated tables, comments and the targets of links.
NOT_PROSE = re.compile(
    r"^ *```.*?^ *```$"
    r"|^\| `--[^|\n]*\|[^|\n]*\|"
    r"|<!-- table \w+ -->.*?<!-- end -->|<!--.*?-->"
    r"|`[^`]*`|\]\([^)\s]*\)",
    re.DOTALL | re.MULTILINE,
)
TABLE = re.compile(r"<!-- table \w+ -->.*?<!-- end -->", re.DOTALL)
WORDS = {
    1 / 10: "a tenth",
    1 / 8: "an eighth",
    1 / 4: "a quarter",
    1 / 3: "a third",
    1 / 2: "half",
    9 / 10: "nine tenths",
    3: "three times",
}


class Figure(NamedTuple):
    page: str
    words: str  # with {:.1f}, as str.format has it, for each value
    values: tuple[float | str, ...]


def figure(page: str, words: str, *values: float | str) -> Figure:
    return Figure(page, words, values)


def in_words(value: float) -> str:
    """The nearest there is: "a tenth" for 0.104."""
    return WORDS[min(WORDS, key=lambda known: max(known / value, value / known))]


def blanked(pattern: re.Pattern, text: str) -> str:
    """What matches becomes blanks, so that places and lines stay what they are."""
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def what_looks_measured(text: str) -> list[re.Match]:
    prose = blanked(NEVER_MEASURED, blanked(NOT_PROSE, text))
    return list(LOOKS_MEASURED.finditer(prose))


def pattern_of(words: str, values: Iterable[float | str] | None = None) -> re.Pattern:
    """Of words that a page may break into lines anywhere. Without values any number may be there."""
    pattern = ""
    remaining = iter(values or ())
    for literal, field, form, _ in string.Formatter().parse(words):
        pattern += r"\s+".join(map(re.escape, re.split(r"\s+", literal)))
        if field is not None:
            expected = r"\s+".join(map(re.escape, format(next(remaining), form).split())) if values else ""
            anything = rf"{NUMBER}|{'|'.join(WORDS.values())}"
            pattern += rf"(?<![\d.,])({expected or anything})(?!\d|[.,]\d)"
    return re.compile(pattern)


def place_of(where: str, text: str, said: Figure) -> tuple[re.Match | None, str]:
    """The only place that has these words and values; or what is wrong."""
    found = list(pattern_of(said.words, said.values).finditer(text))
    if len(found) == 1:
        return found[0], ""
    if found:
        return (
            None,
            f'{where}: "{said.words}" is there {len(found)} times: declare more of the words around it',
        )
    expected = said.words.format(*said.values)
    others = [" ".join(other[0].split()) for other in pattern_of(said.words).finditer(text)]
    seen = f'says "{others[0]}"' if others else "does not say it"
    return None, f'{where}: expected "{expected}"; the page {seen}'


def literally(words: str) -> str:
    return words.replace("{", "{{").replace("}", "}}")


def covered(match: re.Match) -> Iterator[tuple[int, int]]:
    """The places of its values; of words without any all of it."""
    groups = match.re.groups
    yield from (match.span(group) for group in range(1, groups + 1)) if groups else [match.span()]


def problems_of(where: str, text: str, figures: Iterable[Figure], not_measured: Iterable[str]) -> list[str]:
    """What a page says otherwise than declared, and what it says undeclared."""
    prose = blanked(TABLE, text)
    open_figures = what_looks_measured(text)
    problems = []
    for said in figures:
        match, problem = place_of(where, prose, said)
        if match is None:
            problems.append(problem)
            continue
        spans = list(covered(match))
        open_figures = [each for each in open_figures if not is_in(each, spans)]
    for words in not_measured:
        match, problem = place_of(where, prose, Figure(where, literally(words), ()))
        if match is None:
            problems.append(problem)
            continue
        left = [each for each in open_figures if not is_in(each, [match.span()])]
        if len(left) == len(open_figures):
            problems.append(f'{where}: "{words}" need not be declared')
        open_figures = left
    return problems + [undeclared(where, text, each) for each in open_figures]


def is_in(figure: re.Match, spans: list[tuple[int, int]]) -> bool:
    return any(begin < figure.end() and figure.start() < end for begin, end in spans)


def undeclared(where: str, text: str, figure: re.Match) -> str:
    line = text.count("\n", 0, figure.start()) + 1
    around = " ".join(text[max(0, figure.start() - 30) : figure.end() + 30].split())
    return f'{where}:{line}: {figure[0]} in "{around}" is not declared'
