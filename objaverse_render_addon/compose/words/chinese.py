"""Chinese: no articles, classifiers, and all that narrows a noun before it.

What narrows the noun comes first, so that a noun phrase could often be read in two ways: "left of
the bowl" may be cut before the bowl or behind it. What is written here has one: a clause of its own
opens with a verb or a preposition (位于, 比, 跟, 离) and ends in 的 wherever what it mentions is
more than colour and noun, and what is mentioned never has a 的 of its own.
"""

from __future__ import annotations

from typing import Final

from ..forms import Clause, Phrase
from ..nouns import ANYTHING, SPACES
from .text import Luck, Text

__all__ = ["sentence"]

_NOUNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "mug": (("马克杯", "个只"),), "cup": (("茶杯", "个只"),), "bowl": (("碗", "个只"),),
    "plate": (("盘子", "个只"),), "bottle": (("瓶子", "个只"),), "can": (("易拉罐", "个"),),
    "box": (("盒子", "个只"),), "book": (("书", "本"),), "ball": (("球", "个"),),
    "spoon": (("勺子", "把"),), "basket": (("篮子", "个只"),), "tray": (("托盘", "个只"),),
    "crate": (("箱子", "个只"),), "lamp": (("台灯", "盏"),), "vase": (("花瓶", "个只"),),
    "banana": (("香蕉", "根"),), "apple": (("苹果", "个"),), "jar": (("罐子", "个只"),),
    "pan": (("平底锅", "口个"),), "bucket": (("水桶", "个只"),), "candle": (("蜡烛", "根支"),),
    "ring": (("圆环", "个"),), "carton": (("饮料盒", "个"),), "hammer": (("锤子", "把"),),
    "flashlight": (("手电筒", "支个"),), "cone": (("圆锥", "个"),), "pyramid": (("金字塔", "个"),),
    "cube": (("立方体", "个"),), "fruit": (("水果", "个"),), "tool": (("工具", "件"),),
    "toy": (("玩具", "件个"),),
    ANYTHING: (("物体", "个"), ("东西", "个"), ("物品", "件")),
}  # fmt: skip
"""Concept to words and the classifiers of each; what is not here has no Chinese word."""
_COLORS: Final = {
    "black": ("黑色",), "white": ("白色",), "grey": ("灰色",), "red": ("红色",),
    "orange": ("橙色", "橘色"), "yellow": ("黄色",), "green": ("绿色",), "blue": ("蓝色",),
    "purple": ("紫色",), "pink": ("粉色", "粉红色"), "brown": ("棕色", "褐色"),
}  # fmt: skip
_COUNTS: Final = ("", "一", "两", "三", "四", "五", "六")
_ORDINALS: Final = ("", "一", "二", "三", "四")
_MOST: Final = {
    "leftmost": ("最左边", "最左侧"), "rightmost": ("最右边", "最右侧"),
    "nearest": ("最前面", "离相机最近"), "farthest": ("最后面", "离相机最远"),
    "tallest": ("最高",), "shortest": ("最矮",), "largest": ("最大",), "smallest": ("最小",),
}  # fmt: skip
_PLACES: Final = {
    "left": ("左边", "左侧"), "right": ("右边", "右侧"), "front": ("前面", "前方"),
    "behind": ("后面", "后方"), "front_left": ("左前方",), "front_right": ("右前方",),
    "rear_left": ("左后方",), "rear_right": ("右后方",), "next_to": ("旁边",),
    "on": ("上", "上面"), "in": ("里", "里面"), "under": ("下面", "底下"),
}  # fmt: skip
_COMPARED: Final = {"taller": "高", "shorter": "矮", "bigger": "大", "smaller": "小"}
_COLORED: Final = {
    "same_color": ("颜色相同", "颜色一样"), "other_color": ("颜色不同", "颜色不一样"),
}  # fmt: skip
_CORNERS: Final = {
    "front_left": ("左前角", "左前方角落里"), "front_right": ("右前角", "右前方角落里"),
    "rear_left": ("左后角", "左后方角落里"), "rear_right": ("右后角", "右后方角落里"),
}  # fmt: skip
_POSTURES: Final = {
    "upright": ("直立", "竖直放着"), "lying": ("横放着", "侧躺着"),
    "upside_down": ("倒扣着", "倒立着"),
}  # fmt: skip
_HIDDEN: Final = ("部分被遮挡", "部分被遮住")
_SIDES: Final = {"left": ("从左数", "从左边数", "左起"), "right": ("从右数", "从右边数", "右起")}
_SPACES: Final = ("空位", "空处", "空白区域")
_SUPPORTS: Final = {
    "table": ("桌上", "桌面上"), "tray": ("托盘上", "托盘里"), "shelf": ("架子上",),
    "box": ("盒子里",),
}  # fmt: skip
_NAMED: Final = ("extreme", "corner", "relation")
"""Clauses that stand before a demonstrative without a 的."""


def sentence(phrase: Phrase, style: str, luck: Luck) -> Text | None:
    """See :func:`..words.realise`."""
    if not _has_words(phrase):
        return None
    text = Text(space="")
    if style == "phrase":
        _target(text, phrase, luck)
        return text
    please = luck.pick(("", "请"))
    if phrase.noun in SPACES:
        verb, end = luck.pick((("请指出", "。"), ("帮我找一下", "。"), ("", "在哪里？")))
        text.add(verb)
        _target(text, phrase, luck)
        text.add(end)
        return text
    hand = luck.pick(("拿给我", "递给我", "拿过来"))
    # "Which is" asks for one; several are looked for.
    frame = luck.pick(range(8 if phrase.number == 1 else 7))
    before, after = {
        0: ((please, "把"), (hand, "。")),
        1: ((luck.pick(("你能", "可以")), "把"), (hand, "吗", "？")),
        2: (("能不能", "把"), (hand, "？")),
        3: ((please, luck.pick(("拿起", "抓住"))), ("。",)),
        4: ((luck.pick(("我想要", "我要", "我需要")),), ("。",)),
        5: ((luck.pick(("帮我拿一下", "请帮我拿一下", "请指出")),), ("。",)),
        6: ((), (luck.pick(("在哪里", "在哪儿")), "？")),
        7: ((luck.pick(("哪个是", "哪一个是")),), ("？",)),
    }[frame]  # fmt: skip
    text.add(*before)
    _target(text, phrase, luck)
    text.add(*after)
    return text


def _has_words(phrase: Phrase) -> bool:
    refs = phrase.clause.refs if phrase.clause else ()
    return (phrase.noun in _NOUNS or phrase.noun in SPACES) and all(
        _has_words(ref) and ref.number == 1 and not ref.negated
        and (ref.clause is None or ref.clause.kind in _NAMED)
        and (ref.clause is None or ref.clause.kind != "relation" or ref.clause.word in _PLACES)
        for ref in refs
    )  # fmt: skip


def _target(text: Text, phrase: Phrase, luck: Luck) -> None:
    """Clause, 的, demonstrative and number, colour, noun."""
    begin, clause = text.mark(), phrase.clause
    if phrase.noun in SPACES:
        _space(text, phrase, luck)
        return
    noun, classifiers = luck.pick(_NOUNS[phrase.noun])
    classifier = luck.pick(classifiers)
    that, no = False, "非"
    if clause is not None:
        that = _clause(text, clause, phrase.number, luck)
    elif phrase.negated and luck.pick((True, False)):
        assert phrase.color is not None
        text.add(f"不是{luck.pick(_COLORS[phrase.color])}的")
        that, no = True, ""
    head = text.mark()
    if clause is not None and clause.kind == "ordinal":
        text.add(f"第{_ORDINALS[clause.n]}{classifier}")
    elif phrase.number == 1:
        text.add(f"那{classifier}" if that or luck.pick((True, False)) else "")
    elif phrase.number == 0:
        text.add(luck.pick(("所有", "全部")))
    else:
        text.add(f"那{_COUNTS[phrase.number]}{classifier}")
    if phrase.color is not None and no:
        color = luck.pick(_COLORS[phrase.color])
        text.add(("非" if phrase.negated else "") + color + luck.pick(("", "的")))
    text.add(noun)
    text.close("head", head)
    text.close("target", begin)


def _space(text: Text, phrase: Phrase, luck: Luck) -> None:
    """Where, 位于 what, 的, free space."""
    begin, clause, support = text.mark(), phrase.clause, SPACES[phrase.noun]
    text.add(luck.pick(_SUPPORTS[support]) if support else "")
    if clause is not None:
        text.add("位于")
        for place, ref in enumerate(clause.refs):
            text.add("和" if place else "")
            _mentioned(text, ref, luck)
        between = clause.kind == "between"
        text.add(luck.pick(("之间", "中间") if between else _PLACES[clause.word]), "的")
    head = text.mark()
    text.add(luck.pick(_SPACES))
    text.close("head", head)
    text.close("target", begin)


def _clause(text: Text, clause: Clause, number: int, luck: Luck) -> bool:
    """What narrows a target; whether it has to go on with a demonstrative."""
    kind, word = clause.kind, clause.word
    if kind == "ordinal":
        text.add(luck.pick(_SIDES[word]))
        return False
    if kind == "extreme":
        text.add(luck.pick(_MOST[word]))
    elif kind == "corner":
        opened = luck.pick((True, False))
        text.add("位于" if opened else "", luck.pick(_CORNERS[word]))
        if opened:
            text.add("的")
            return False
    elif kind == "posture":
        text.add(luck.pick(_POSTURES[word]), "的")
        return False
    elif kind == "hidden":
        text.add(luck.pick(_HIDDEN), "的")
        return False
    elif kind == "relation" and word in _PLACES:
        simple = clause.refs[0].clause is None
        opened = not simple or luck.pick((True, False))
        if opened:
            text.add(luck.pick(("位于", "放在") if word in ("on", "in") else ("位于",)))
        _mentioned(text, clause.refs[0], luck)
        text.add(luck.pick(_PLACES[word]))
        if opened:
            text.add("的")
            return False
    else:
        _opened(text, clause, luck)
        return False
    # 最左边那个…, 碗左边那个…
    if number == 1 and luck.pick((True, False)):
        return True
    text.add("的")
    return False


def _opened(text: Text, clause: Clause, luck: Luck) -> None:
    """Clauses that begin with a word of their own and end in 的."""
    kind, word = clause.kind, clause.word
    if kind == "between":
        text.add("位于")
        for place, ref in enumerate(clause.refs):
            text.add("和" if place else "")
            _mentioned(text, ref, luck)
        text.add(luck.pick(("之间", "中间")), "的")
        return
    before, after = {
        "closest": ("离", "最近"), "relation": ("比", _COMPARED.get(word, "")),
    }[kind]  # fmt: skip
    if word in _COLORED:
        before, after = luck.pick(("跟", "与")), luck.pick(_COLORED[word])
    text.add(before)
    _mentioned(text, clause.refs[0], luck)
    text.add(after, "的")


def _mentioned(text: Text, ref: Phrase, luck: Luck) -> None:
    """What a clause mentions: colour and noun, before them what is said of it, and 那."""
    begin, clause = text.mark(), ref.clause
    noun, classifiers = luck.pick(_NOUNS[ref.noun])
    if clause is not None:
        if clause.kind == "relation":
            _mentioned(text, clause.refs[0], luck)
            text.add(luck.pick(_PLACES[clause.word]))
        else:
            text.add(luck.pick((_MOST if clause.kind == "extreme" else _CORNERS)[clause.word]))
        text.add(f"那{luck.pick(classifiers)}")
    if ref.color is not None:
        text.add(luck.pick(_COLORS[ref.color]))
    text.add(noun)
    text.close("references", begin)
