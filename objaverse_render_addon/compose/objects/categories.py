"""What stands on tables: how large each kind usually is, and which kinds people mix up.

Sizes are of the longest edge, in metres: the range within which things of that kind, as they are
sold, lie. They were written down by hand, rounded, and fitted to no data set. A thing gets such a
size only where neither a list nor its file says a better one, and the scene's file says so.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SIZES", "mixed_up", "plain", "size_of"]

SIZES: Final[dict[str, tuple[float, float]]] = {
    # To drink and to eat from.
    "mug": (0.09, 0.13), "cup": (0.07, 0.12), "teacup": (0.08, 0.13), "glass": (0.08, 0.16),
    "wineglass": (0.15, 0.23), "goblet": (0.13, 0.22), "tankard": (0.12, 0.18),
    "beer can": (0.12, 0.17), "beer bottle": (0.19, 0.26), "wine bottle": (0.28, 0.32),
    "bottle": (0.16, 0.32), "water bottle": (0.18, 0.28), "thermos bottle": (0.2, 0.3),
    "can": (0.09, 0.17), "milk can": (0.15, 0.3), "jar": (0.08, 0.18), "jug": (0.15, 0.28),
    "pitcher": (0.16, 0.28), "carton": (0.12, 0.26), "milk": (0.15, 0.26), "flask": (0.1, 0.2),
    "teapot": (0.15, 0.26), "teakettle": (0.18, 0.28), "kettle": (0.18, 0.28),
    "coffeepot": (0.16, 0.28), "bowl": (0.11, 0.26), "soup bowl": (0.13, 0.22),
    "sugar bowl": (0.09, 0.15), "plate": (0.16, 0.3), "saucer": (0.12, 0.17),
    "dish": (0.14, 0.3), "platter": (0.25, 0.4), "tray": (0.25, 0.45), "salad plate": (0.18, 0.23),
    "spoon": (0.13, 0.22), "fork": (0.15, 0.22), "knife": (0.17, 0.3), "ladle": (0.24, 0.34),
    "wooden spoon": (0.25, 0.34), "spatula": (0.24, 0.34), "chopstick": (0.2, 0.27),
    "whisk": (0.2, 0.3), "tongs": (0.2, 0.32), "corkscrew": (0.1, 0.2), "can opener": (0.14, 0.22),
    "bottle opener": (0.1, 0.18), "peeler": (0.13, 0.2), "rolling pin": (0.3, 0.46),
    "pan": (0.25, 0.45), "frying pan": (0.28, 0.48), "saucepan": (0.25, 0.42), "pot": (0.2, 0.38),
    "wok": (0.3, 0.48), "colander": (0.2, 0.34), "cutting board": (0.25, 0.45),
    "saltshaker": (0.06, 0.12), "pepper mill": (0.1, 0.22), "mortar": (0.1, 0.18),
    "measuring cup": (0.08, 0.18), "toaster": (0.25, 0.36), "blender": (0.3, 0.44),
    "coffee maker": (0.28, 0.42), "food processor": (0.3, 0.44), "egg carton": (0.2, 0.3),
    "napkin": (0.12, 0.2), "coaster": (0.08, 0.12), "candle holder": (0.08, 0.25),
    # To eat.
    "apple": (0.065, 0.095), "banana": (0.15, 0.22), "orange": (0.06, 0.1), "lemon": (0.06, 0.1),
    "lime": (0.045, 0.065), "pear": (0.08, 0.12), "peach": (0.06, 0.09), "avocado": (0.08, 0.13),
    "pineapple": (0.22, 0.35), "watermelon": (0.22, 0.4), "melon": (0.14, 0.26),
    "strawberry": (0.03, 0.05), "kiwi fruit": (0.055, 0.08), "mango": (0.09, 0.14),
    "pomegranate": (0.08, 0.11), "tomato": (0.05, 0.09), "potato": (0.06, 0.12),
    "carrot": (0.13, 0.22), "cucumber": (0.15, 0.32), "bell pepper": (0.08, 0.13),
    "eggplant": (0.16, 0.26), "zucchini": (0.15, 0.26), "onion": (0.06, 0.1),
    "garlic": (0.045, 0.07), "broccoli": (0.12, 0.2), "cauliflower": (0.15, 0.24),
    "cabbage": (0.15, 0.26), "lettuce": (0.15, 0.26), "mushroom": (0.035, 0.09),
    "pumpkin": (0.18, 0.4), "ginger": (0.07, 0.14), "egg": (0.05, 0.065), "bread": (0.18, 0.34),
    "bagel": (0.09, 0.13), "croissant": (0.11, 0.17), "muffin": (0.06, 0.1),
    "cupcake": (0.06, 0.1), "doughnut": (0.08, 0.11), "cookie": (0.05, 0.09),
    "cake": (0.16, 0.32), "birthday cake": (0.18, 0.34), "pie": (0.18, 0.3),
    "pizza": (0.24, 0.36), "sandwich": (0.1, 0.2), "hamburger": (0.09, 0.13),
    "hot dog": (0.13, 0.19), "burrito": (0.13, 0.2), "taco": (0.12, 0.17), "sushi": (0.03, 0.07),
    "sausage": (0.1, 0.2), "cheese": (0.06, 0.25), "butter": (0.08, 0.13),
    "chocolate bar": (0.1, 0.2), "candy bar": (0.09, 0.15), "lollipop": (0.1, 0.2),
    "ice cream": (0.1, 0.18), "honey": (0.08, 0.16), "cereal box": (0.22, 0.33),
    # On a desk.
    "book": (0.17, 0.3), "notebook": (0.14, 0.3), "notepad": (0.1, 0.21), "magazine": (0.2, 0.3),
    "pencil": (0.14, 0.2), "pen": (0.12, 0.16), "crayon": (0.07, 0.1), "eraser": (0.03, 0.07),
    "stapler": (0.11, 0.18), "scissors": (0.12, 0.24), "pencil sharpener": (0.025, 0.12),
    "pencil box": (0.17, 0.24), "ruler": (0.15, 0.33), "calculator": (0.12, 0.2),
    "clipboard": (0.28, 0.35), "globe": (0.2, 0.42), "magnet": (0.03, 0.1),
    "lamp": (0.25, 0.5), "table lamp": (0.25, 0.55), "desk lamp": (0.3, 0.55),
    "flashlight": (0.1, 0.26), "lantern": (0.18, 0.36), "candle": (0.06, 0.25),
    "clock": (0.12, 0.32), "alarm clock": (0.08, 0.17), "watch": (0.06, 0.12),
    "computer keyboard": (0.28, 0.46), "keyboard": (0.28, 0.46), "mouse": (0.09, 0.13),
    "laptop computer": (0.29, 0.4), "laptop": (0.29, 0.4), "tablet computer": (0.2, 0.3),
    "cellular telephone": (0.12, 0.17), "phone": (0.12, 0.24), "telephone": (0.17, 0.27),
    "camera": (0.1, 0.18), "headset": (0.16, 0.23), "headphones": (0.16, 0.23),
    "earphone": (0.02, 0.16), "microphone": (0.14, 0.26), "speaker": (0.1, 0.36),
    "radio receiver": (0.15, 0.34), "radio": (0.15, 0.34), "remote control": (0.13, 0.22),
    "game controller": (0.14, 0.18), "joystick": (0.14, 0.26), "router": (0.16, 0.28),
    "printer": (0.35, 0.5), "battery": (0.04, 0.07), "binoculars": (0.11, 0.2),
    "magnifying glass": (0.12, 0.25), "eyeglasses": (0.13, 0.16), "sunglasses": (0.13, 0.16),
    # To keep things in, and to look at.
    "box": (0.1, 0.34), "crate": (0.2, 0.4), "basket": (0.18, 0.38), "bucket": (0.18, 0.34),
    "pail": (0.18, 0.34), "tin": (0.08, 0.2), "jewelry box": (0.12, 0.28), "chest": (0.14, 0.4),
    "toolbox": (0.3, 0.48), "piggy bank": (0.1, 0.2), "vase": (0.14, 0.36), "urn": (0.16, 0.4),
    "flowerpot": (0.1, 0.26), "pot plant": (0.14, 0.44), "cactus": (0.08, 0.3),
    "watering can": (0.2, 0.38), "figurine": (0.07, 0.28), "statue": (0.14, 0.44),
    "bust": (0.16, 0.44), "trophy": (0.14, 0.4), "trophy cup": (0.14, 0.4), "skull": (0.14, 0.23),
    "picture frame": (0.13, 0.34), "mirror": (0.15, 0.4), "hourglass": (0.1, 0.24),
    "bell": (0.06, 0.2), "shell": (0.04, 0.16), "stone": (0.04, 0.22), "crystal": (0.05, 0.2),
    # Tools.
    "hammer": (0.26, 0.36), "screwdriver": (0.15, 0.28), "wrench": (0.14, 0.3),
    "pliers": (0.14, 0.23), "saw": (0.3, 0.5), "handsaw": (0.35, 0.52), "drill": (0.18, 0.3),
    "axe": (0.3, 0.48), "chisel": (0.18, 0.3), "tape measure": (0.06, 0.1),
    "padlock": (0.05, 0.1), "key": (0.05, 0.09), "screw": (0.03, 0.07), "paintbrush": (0.15, 0.28),
    "brush": (0.14, 0.28), "duct tape": (0.1, 0.14), "fire extinguisher": (0.35, 0.5),
    # Toys, games, and what one wears.
    "ball": (0.06, 0.24), "tennis ball": (0.064, 0.069), "baseball": (0.072, 0.076),
    "golf ball": (0.042, 0.044), "basketball": (0.23, 0.25), "football": (0.26, 0.29),
    "soccer ball": (0.21, 0.23), "billiard ball": (0.055, 0.058), "dice": (0.012, 0.03),
    "die": (0.012, 0.03), "cube": (0.04, 0.1), "toy": (0.08, 0.3), "toy car": (0.07, 0.22),
    "doll": (0.18, 0.42), "teddy bear": (0.2, 0.42), "rubber duck": (0.06, 0.12),
    "robot": (0.1, 0.32), "dinosaur": (0.1, 0.36), "pyramid": (0.05, 0.14), "cone": (0.05, 0.16),
    "ring": (0.02, 0.14), "chess piece": (0.04, 0.1), "puzzle": (0.1, 0.4),
    "frisbee": (0.22, 0.28), "shoe": (0.24, 0.32), "sneaker": (0.25, 0.33), "boot": (0.26, 0.36),
    "sandal": (0.23, 0.3), "hat": (0.25, 0.38), "cap": (0.18, 0.3), "helmet": (0.22, 0.36),
    "crown": (0.14, 0.24), "handbag": (0.22, 0.4), "wallet": (0.09, 0.13), "purse": (0.1, 0.3),
    # In a bathroom.
    "soap": (0.07, 0.11), "toothbrush": (0.15, 0.2), "toothpaste": (0.13, 0.2),
    "hairbrush": (0.18, 0.26), "comb": (0.13, 0.21), "toilet tissue": (0.1, 0.13),
    "tissue box": (0.12, 0.25), "spray bottle": (0.2, 0.3), "perfume": (0.06, 0.14),
    "lipstick": (0.06, 0.09), "sponge": (0.09, 0.15), "shampoo": (0.15, 0.24),
    "hair dryer": (0.18, 0.28),
}  # fmt: skip

_ALIKE: Final[tuple[frozenset[str], ...]] = tuple(frozenset(one.split(", ")) for one in (
    "mug, cup, teacup, tankard, beer mug, coffee cup, glass, goblet, measuring cup, tumbler",
    "glass, wineglass, goblet, trophy cup, chalice, tumbler",
    "bowl, soup bowl, dish, sugar bowl, plate, saucer, salad plate, platter, pan, basin",
    "plate, saucer, dish, platter, salad plate, tray, coaster",
    "bottle, beer bottle, wine bottle, water bottle, thermos bottle, flask, jar, vase, jug, "
    "spray bottle, perfume, shampoo, ketchup, honey, carafe",
    "can, beer can, tin, milk can, jar, soda can, candle",
    "jug, pitcher, vase, milk can, watering can, carafe, urn, ewer",
    "vase, urn, flowerpot, jar, pot, amphora, trophy, trophy cup",
    "teapot, teakettle, kettle, coffeepot, pot, jug",
    "pot, pan, saucepan, frying pan, wok, skillet, casserole, bowl, flowerpot",
    "flowerpot, pot plant, cactus, plant, potted plant, houseplant, succulent",
    "spoon, wooden spoon, ladle, spatula, cutlery",
    "knife, chisel, dagger, cutlery, peeler", "fork, cutlery",
    "box, crate, carton, chest, jewelry box, toolbox, cereal box, pencil box, tissue box, "
    "egg carton, tin, case, package, present, gift",
    "basket, bucket, pail, crate, bin, wastebasket",
    "book, notebook, notepad, magazine, bible, diary, box",
    "pencil, pen, crayon, marker, paintbrush, brush, chopstick",
    "lamp, table lamp, desk lamp, lantern, flashlight, candle, candle holder, lampshade",
    "clock, alarm clock, watch, hourglass", "phone, telephone, cellular telephone, radio, "
    "remote control, tablet computer, calculator", "radio, radio receiver, speaker",
    "laptop, laptop computer, tablet computer, notebook, computer",
    "keyboard, computer keyboard, piano", "headset, headphones, earphone",
    "figurine, statue, bust, doll, toy, robot, trophy, sculpture, dinosaur, teddy bear, "
    "rubber duck, chess piece, action figure",
    "ball, tennis ball, baseball, golf ball, basketball, football, soccer ball, billiard ball, "
    "orange, globe, apple, bowling ball, beachball, peach, lime",
    "lemon, lime, orange, mandarin orange, clementine, grapefruit, peach, tomato",
    "apple, peach, pear, tomato, pomegranate", "melon, watermelon, cantaloup, pumpkin, squash",
    "cucumber, zucchini, eggplant, pickle, gourd", "cabbage, lettuce, cauliflower, broccoli",
    "potato, sweet potato, stone, egg, ginger, kiwi fruit, avocado, mango",
    "bread, bun, croissant, bagel, baguette, roll, doughnut, cake",
    "muffin, cupcake, cake, birthday cake, pie, wedding cake, cookie",
    "sandwich, hamburger, hot dog, burrito, taco, wrap, burger",
    "candy bar, chocolate bar, butter, soap, eraser, cheese, sponge",
    "shoe, sneaker, boot, sandal, slipper, high heel", "hat, cap, helmet, crown, bonnet",
    "handbag, purse, wallet, bag, tote bag, backpack",
    "cube, dice, die, box, block", "cone, pyramid, crystal",
    "brush, paintbrush, hairbrush, toothbrush, comb", "saw, handsaw", "axe, hammer, hatchet",
    "pliers, wrench, tongs, screwdriver, scissors", "eyeglasses, sunglasses, glasses, goggles",
    "ring, bracelet, duct tape, doughnut", "skull, bust, figurine", "stone, crystal, shell",
    "toy, toy car, car, truck, train, airplane, doll, robot, dinosaur, teddy bear, rubber duck",
    "toaster, blender, coffee maker, food processor, mixer",
    "saltshaker, pepper mill, shaker, peppermint",
))  # fmt: skip
"""Kinds of which some people would call one by the name of another."""


def plain(name: str) -> str:
    """A name as the table has it: LVIS's ``bow_(decorative_ribbons)`` is ``bow``."""
    return " ".join(re.sub(r"\(.*?\)|[\W_]", " ", name.lower()).split())


def size_of(name: str) -> tuple[float, float] | None:
    """Least and most of the longest edge, metres; a ``red coffee mug`` has those of a ``mug``."""
    words = plain(name).split()
    for first in range(len(words)):
        found = SIZES.get(" ".join(words[first:]))
        if found is not None:
            return found
    return None


def mixed_up(one: str, other: str) -> bool:
    """Whether some people would call a thing of one name by the other."""
    return any(one in some and other in some for some in _ALIKE)
