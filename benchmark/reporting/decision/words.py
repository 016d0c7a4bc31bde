"""The sentence that answers: templates that the page fills as well, with the numbers of ``decision.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.reporting.decision.choice import AS_FAST, Choice, Constraints, Option, meets
from benchmark.reporting.decision.statistics import Estimate, Needed, needed
from benchmark.reporting.decision.times import Speed

_INTERVAL = "95% interval {low} to {high}"
_OPEN = " Whether {name} is as good as {other} cannot be told yet (difference {value}, " + _INTERVAL + ")"
# "name" and "other" are backbones; the rest comes from a pair's or an option's text.
TEMPLATES = {
    "take": "Take {name}: {figure} {heading} (" + _INTERVAL + ")",
    "take_for_now": "For now take {name}: {figure} {heading} (" + _INTERVAL + ")",
    "unlearned": "None can be taken yet: {name} is highest with {figure} {heading} (" + _INTERVAL + "), and a blind "
    "guess reaches {guess}. Train longer, or on more pictures.",
    "below": ", {gap} below the best, {other} (difference {value}, " + _INTERVAL + ", {pairing})",
    "as_high": ", as high as {other} (difference {value}, " + _INTERVAL + ", {pairing})",
    "above": ", {gap} above the next, {other} (" + _INTERVAL + ", {pairing})",
    "not_above": ", not told apart from the next, {other} (difference {value}, " + _INTERVAL + ", {pairing})",
    "faster": ", {times} times as fast here ({quartiles})",
    "slower": ", {times} times as slow here ({quartiles})",
    "as_fast": ", as fast here ({times} times, {quartiles})",
    "alone": ", the only one that can be taken",
    "may_miss": " The interval reaches below the {heading} asked for.",
    "untimed": " Its cost is unknown: no time of it was measured on this machine.",
    "settle_both": _OPEN + ": about {seeds} more seeds each, or {pictures} more pictures to evaluate on, would tell.",
    "settle_seeds": _OPEN + ": about {seeds} more seeds each would tell; more pictures alone would not.",
    "settle_pictures": _OPEN + ": about {pictures} more pictures to evaluate on would tell; {no_seeds}.",
    "settle_together": _OPEN + ": more seeds or more pictures alone would not tell, {together} times as many of both "
    "would.",
    "settle_neither": _OPEN + ", and neither more seeds nor more pictures alone would tell within reason.",
}
ONE_SEED = " Each backbone has one seed: how far another seed would lie is unknown, and in no interval here."


def fill(template: str, parts: Mapping[str, Any]) -> str:
    """Return a template with its places filled."""
    return TEMPLATES[template].format_map(parts)


def page_words(heading: str, count: int, one_seed: bool) -> dict[str, str]:
    """Return the templates and whole sentences that the page needs.

    Args:
        heading: of the figure: ``AP``.
        count: number of backbones.
        one_seed: every backbone has one.
    """
    return {
        **TEMPLATES,
        "may_miss": fill("may_miss", {"heading": heading}),
        "nobody": f"None of the {count} meets what is asked for." if count > 1 else "The one here does not meet it.",
        "ending": ONE_SEED if one_seed else "",
    }


def option_text(found: Estimate, heading: str, guess: float) -> dict[str, str]:
    """Return an option's numbers as the sentence prints them."""
    return {
        "figure": f"{found.value:.1f}",
        "low": f"{found.low:.1f}",
        "high": f"{found.high:.1f}",
        "heading": heading,
        "guess": f"{guess:.1f}",
    }


def pair_text(found: Estimate, faster: Speed | None, margin: float, pairing: str) -> dict[str, str]:
    """Return a pair's numbers as the sentence prints them, and which templates it takes.

    Args:
        found: difference of the figures.
        faster: how many times as fast.
        margin: see ``Constraints``.
        pairing: how the difference was taken, in words.
    """
    told_by = needed(found, max(abs(found.value), margin - abs(found.value), 1e-9))
    level = abs(found.value) < 0.05
    return {
        "value": f"{found.value:+z.1f}",
        "gap": f"{abs(found.value):.1f}",
        "low": f"{found.low:+z.1f}",
        "high": f"{found.high:+z.1f}",
        "pairing": pairing,
        "below": "as_high" if level else "below",
        "above": "above" if found.low > 0 else "not_above",
        "settle": _settle(told_by),
        "seeds": str(told_by.seeds or ""),
        "pictures": str(told_by.pictures or ""),
        "together": str(told_by.times or ""),
        "no_seeds": "how many seeds would is unknown, with one each"
        if not found.seeds
        else "more seeds alone would not",
        **_speed_text(faster),
    }


def _settle(told_by: Needed) -> str:
    if told_by.seeds and told_by.pictures:
        return "settle_both"
    if told_by.seeds:
        return "settle_seeds"
    if told_by.pictures:
        return "settle_pictures"
    return "settle_together" if told_by.times else "settle_neither"


def _speed_text(faster: Speed | None) -> dict[str, str]:
    if faster is None:
        return {"speed": ""}
    name = "faster" if faster.times > 1 / AS_FAST else "slower" if faster.times < AS_FAST else "as_fast"
    invert = name == "slower"
    ends = [end for end in (faster.low, faster.high) if end is not None]
    shown = [f"{1 / value if invert else value:.2g}" for value in sorted(ends, reverse=invert)]
    quartiles = f"quartiles {' to '.join(shown)}" if shown else "measured apart, so without an interval"
    times = f"{faster.times:.2f}" if name == "as_fast" else f"{max(faster.times, 1 / faster.times):.1f}"
    return {"speed": name, "times": times, "quartiles": quartiles}


def sentence(data: Mapping[str, Any], answer: Choice | None, constraints: Constraints) -> str:
    """Return the answer in words; ``choose.js`` puts the same together.

    Args:
        data: ``options``, ``pairs`` and ``words`` of ``decision.json``.
        answer: of ``choose``.
        constraints: that it was chosen by.
    """
    options: Sequence[Mapping[str, Any]] = data["options"]
    pairs: Sequence[Sequence[Mapping[str, Any]]] = data["pairs"]
    words: Mapping[str, str] = data["words"]
    if answer is None:
        able = [one for one in options if meets(_option(one), constraints)]
        return fill("unlearned", {**able[0]["text"], "name": able[0]["name"]}) if able else words["nobody"]
    taken, best, following = answer.taken, answer.best, answer.next

    def pair(i: int, j: int) -> dict[str, Any]:
        return {**pairs[i][j]["text"], "name": options[i]["name"], "other": options[j]["name"]}

    unsettled = answer.untold
    if unsettled is None and taken == best and following is not None:
        unsettled = following if _is_open(pairs[following][best], constraints.margin) else None
    own, other = options[taken], best if taken != best else following
    text = fill("take" if unsettled is None else "take_for_now", {**own["text"], "name": own["name"]})
    if other is None:
        text += words["alone"]
    else:
        found = pair(taken, other)
        text += fill(found["below" if taken != best else "above"], found)
        text += fill(found["speed"], found) if found["speed"] else ""
    text += "."
    if constraints.min_figure is not None and own["low"] < constraints.min_figure:
        text += words["may_miss"]
    if own["ms"] is None:
        text += words["untimed"]
    if unsettled is not None:
        text += fill(pairs[unsettled][best]["text"]["settle"], pair(unsettled, best))
    return text + words["ending"]


def _option(data: Mapping[str, Any]) -> Option:
    return Option(data["figure"], data["ms"], data["params"], data["guess"])


def _is_open(pair: Mapping[str, Any], margin: float) -> bool:
    """Tell whether a difference may be anything from none to more than the margin below."""
    return bool(pair["high"] >= 0 and pair["low"] < -margin)
