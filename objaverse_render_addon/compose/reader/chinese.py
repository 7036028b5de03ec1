"""Chinese sentences to meanings; classifiers have to be those of what they count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

from .english import Unreadable, given

__all__ = ["is_head", "lexicon", "parse"]

_GRAMMAR: Final = """
start: FRAME* target FRAME*
?target: _core -> np
       | mod _core -> np
       | short several (tight | loose)? NOUN -> np
       | side ordinal (tight | loose)? NOUN -> np
       | led
_core: (that | several | every)? (tight | loose)? NOUN
led: short that (tight | loose)? NOUN -> np
simple: tight? NOUN -> np
?ref: simple | led
that: THE -> one
several: _THAT NUMBER -> many
every: ALL -> every
tight: COLOR -> color
loose: COLOR _OF -> color
     | _NO COLOR -> no_color
     | _NO COLOR _OF -> no_color
side: SIDE -> side
ordinal: ORDINAL -> ordinal
short: simple PREP -> relation
     | led PREP -> relation
     | SUPER -> super
     | CORNER -> corner
mod: simple PREP _OF -> relation
   | _AT simple PREP _OF -> relation
   | _AT led PREP _OF -> relation
   | _AT ref _AND ref _BETWEEN _OF -> between
   | _THAN ref COMPARED _OF -> relation
   | _AS ref COLORED _OF -> relation
   | _FROM ref _CLOSEST _OF -> closest
   | SUPER _OF -> super
   | CORNER _OF -> corner
   | _AT CORNER _OF -> corner
   | POSTURE _OF -> posture
   | HIDDEN _OF -> hidden
   | _ISNT COLOR _OF -> no_color
%declare FRAME THE _THAT NUMBER ALL COLOR _OF _NO _ISNT SIDE ORDINAL SUPER CORNER POSTURE HIDDEN
%declare PREP _AT _AND _BETWEEN _THAN COMPARED _AS COLORED _FROM _CLOSEST NOUN
"""
_THINGS: Final = {
    "mug": "马克杯 个只", "cup": "茶杯 个只", "bowl": "碗 个只", "plate": "盘子 个只",
    "bottle": "瓶子 个只", "can": "易拉罐 个", "box": "盒子 个只", "book": "书 本",
    "ball": "球 个", "spoon": "勺子 把", "basket": "篮子 个只", "tray": "托盘 个只",
    "crate": "箱子 个只", "lamp": "台灯 盏", "vase": "花瓶 个只", "banana": "香蕉 根",
    "apple": "苹果 个", "jar": "罐子 个只", "pan": "平底锅 口个", "bucket": "水桶 个只",
    "candle": "蜡烛 根支", "ring": "圆环 个", "carton": "饮料盒 个", "hammer": "锤子 把",
    "flashlight": "手电筒 支个", "cone": "圆锥 个", "pyramid": "金字塔 个", "cube": "立方体 个",
    "piece of fruit": "水果 个", "tool": "工具 件", "toy": "玩具 件个",
}  # fmt: skip
_ANY: Final = ("物体 个", "东西 个", "物品 件")
_COLORS: Final = {
    "黑色": "black", "白色": "white", "灰色": "gray", "红色": "red", "橙色": "orange",
    "橘色": "orange", "黄色": "yellow", "绿色": "green", "蓝色": "blue", "紫色": "purple",
    "粉色": "pink", "粉红色": "pink", "棕色": "brown", "褐色": "brown",
}  # fmt: skip
_CLASSIFIERS: Final = "个只本把盏根口支件"


def _things() -> Iterator[tuple[str, str, str]]:
    """Word, its classifiers, and what it means."""
    for meaning, said in (*_THINGS.items(), *(("anything", one) for one in _ANY)):
        word, classifiers = said.split()
        yield word, classifiers, meaning


def _fixed() -> Iterator[tuple[str, str, str]]:
    """Words, what they are, and what they mean."""
    for word in (
        "请", "把", "拿给我", "递给我", "拿过来", "你能", "可以", "能不能", "吗", "拿起", "抓住",
        "我想要", "我要", "我需要", "帮我拿一下", "帮我找一下", "指出", "在哪里", "在哪儿",
        "哪个是", "哪一个是",
    ):  # fmt: skip
        yield word, "FRAME", ""
    yield from (("那", "_THAT", ""), ("所有", "ALL", ""), ("全部", "ALL", ""), ("的", "_OF", ""))
    yield from (("非", "_NO", ""), ("不是", "_ISNT", ""), ("和", "_AND", ""), ("比", "_THAN", ""))
    yield from (("跟", "_AS", ""), ("与", "_AS", ""), ("离", "_FROM", ""), ("最近", "_CLOSEST", ""))
    for word in ("位于", "放在"):
        yield word, "_AT", ""
    for word in ("之间", "中间"):
        yield word, "_BETWEEN", ""
    for one in _CLASSIFIERS:
        yield f"那{one}", "THE", ""
        for count, word in enumerate("两三四五六", 2):
            yield f"{word}{one}", "NUMBER", str(count)
        for count, word in enumerate("一二三四", 1):
            yield f"第{word}{one}", "ORDINAL", str(count)
    for word, meaning in _COLORS.items():
        yield word, "COLOR", meaning
    for side, word in (("left", "左"), ("right", "右")):
        for said in (f"从{word}数", f"从{word}边数", f"{word}起"):
            yield said, "SIDE", side
        for end in ("边", "侧"):
            yield f"最{word}{end}", "SUPER", side
            yield f"{word}{end}", "PREP", side
        for end, beyond in (("front", "前"), ("rear", "后")):
            yield f"{word}{beyond}方", "PREP", f"{end} {side}"
            yield f"{word}{beyond}角", "CORNER", f"{end} {side}"
            yield f"{word}{beyond}方角落里", "CORNER", f"{end} {side}"
    for word, meaning in (
        ("最前面", "near"), ("离相机最近", "near"), ("最后面", "far"), ("离相机最远", "far"),
        ("最高", "tall"), ("最矮", "short"), ("最大", "large"), ("最小", "small"),
    ):  # fmt: skip
        yield word, "SUPER", meaning
    for word, meaning in (
        ("前面", "front"), ("前方", "front"), ("后面", "rear"), ("后方", "rear"),
        ("旁边", "beside"), ("上", "on"), ("上面", "on"), ("里", "in"), ("里面", "in"),
        ("下面", "under"), ("底下", "under"),
    ):  # fmt: skip
        yield word, "PREP", meaning
    for word, meaning in (("高", "taller"), ("矮", "shorter"), ("大", "bigger"), ("小", "smaller")):
        yield word, "COMPARED", meaning
    for word, meaning in (
        ("颜色相同", "same color"), ("颜色一样", "same color"), ("颜色不同", "other color"),
        ("颜色不一样", "other color"),
    ):  # fmt: skip
        yield word, "COLORED", meaning
    for word, meaning in (
        ("直立", "upright"), ("竖直放着", "upright"), ("横放着", "lying"), ("侧躺着", "lying"),
        ("倒扣着", "upside down"), ("倒立着", "upside down"),
    ):  # fmt: skip
        yield word, "POSTURE", meaning
    for word in ("部分被遮挡", "部分被遮住"):
        yield word, "HIDDEN", ""


def lexicon(_names: Iterable[str]) -> dict[tuple[str, ...], tuple[str, str]]:
    """Words, by their characters, to (kind, meaning)."""
    found = {tuple(word): (kind, meaning) for word, kind, meaning in _fixed()}
    for word, _, meaning in _things():
        found[tuple(word)] = ("NOUN", meaning)
    return found


_SPACES: Final = ("空位", "空处", "空白区域")
_SURFACES: Final = {
    "桌上": "table", "桌面上": "table", "托盘上": "tray", "托盘里": "tray", "架子上": "shelf",
    "盒子里": "box",
}  # fmt: skip


def _with_spaces(
    words: dict[tuple[str, ...], tuple[str, str]]
) -> dict[tuple[str, ...], tuple[str, str]]:
    """Words of a sentence about free space, in which a support may be named."""
    return (words | {tuple(word): ("NOUN", "free space") for word in _SPACES}
            | {tuple(word): ("SURFACE", kind) for word, kind in _SURFACES.items()})  # fmt: skip


def _cut(
    sentence: str, words: dict[tuple[str, ...], tuple[str, str]]
) -> list[tuple[str, str, str]]:
    """(kind, meaning, word) of a text without spaces, the longest word first."""
    said = [one for one in sentence if one not in "，。？！ "]
    longest, at = max(map(len, words)), 0
    tokens = []
    while at < len(said):
        for length in range(min(longest, len(said) - at), 0, -1):
            group = tuple(said[at : at + length])
            if group in words:
                tokens.append((*words[group], "".join(group)))
                at += length
                break
        else:
            raise Unreadable(f"no word begins at {''.join(said[at : at + 4])!r}")
    return tokens


def parse(sentence: str, words: dict[tuple[str, ...], tuple[str, str]]) -> Any:
    """The tree of a sentence's noun phrase.

    Raises:
        Unreadable: It has a word that is not known, a classifier of other things, or no reading.
        MissingDependency: Lark is not installed.
    """
    parser = given(_GRAMMAR)
    if any(word in sentence for word in _SPACES):
        words = _with_spaces(words)
    tokens = _cut(sentence, words)
    named = [meaning for kind, meaning, _ in tokens if kind == "SURFACE"]
    if named:
        # 托盘上…空位: where it is stands before all else, and belongs to the last word.
        tokens = [(kind, f"free {named[0]}" if meaning == "free space" else meaning, word)
                  for kind, meaning, word in tokens if kind != "SURFACE"]  # fmt: skip
    from lark.exceptions import LarkError

    try:
        tree = parser.parse([(kind, meaning) for kind, meaning, _ in tokens])
    except LarkError as error:
        raise Unreadable(str(error).splitlines()[0]) from error
    phrase = next(part for part in tree.children if getattr(part, "data", "") == "np")
    for part in phrase.iter_subtrees():
        if part.data == "np":
            _counted_right(part, [word for _, _, word in tokens])
    return phrase


def _counted_right(phrase: Any, words: list[str]) -> None:
    (noun,) = [one for one in phrase.children if getattr(one, "type", "") == "NOUN"]
    word = words[int(noun.start_pos)]
    for part in phrase.children:
        if getattr(part, "data", "") in ("one", "many", "ordinal"):
            said = words[int(part.children[-1].start_pos)]
            if said[-1] not in _classifiers()[word]:
                raise Unreadable(f"{said!r} does not count {word!r}")


@cache
def _classifiers() -> dict[str, str]:
    return {word: some for word, some, _ in _things()} | dict.fromkeys(_SPACES, "个")


@cache
def _every_word() -> dict[tuple[str, ...], tuple[str, str]]:
    return _with_spaces(lexicon(()))


def is_head(part: str) -> bool:
    """Whether a part of a sentence is a noun with no more than a count and a colour before it."""
    try:
        kinds = [kind for kind, _, _ in _cut(part, _every_word())]
    except Unreadable:
        return False
    before = {"THE", "_THAT", "NUMBER", "ALL", "ORDINAL", "_NO", "COLOR", "_OF"}
    return bool(kinds) and kinds[-1] == "NOUN" and set(kinds[:-1]) <= before
