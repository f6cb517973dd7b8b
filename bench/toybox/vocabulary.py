"""The words of ToyBox: objects, backgrounds, accessories, and the grammar that joins them into captions.

Everything that can be said about a ToyBox picture is listed here; the tokenizers, the classifier's labels and the
judge's list of captions are derived from these tables. The order of a table is part of the trained models: append,
never insert.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

__all__ = [
    "ACCESSORIES",
    "BACKGROUNDS",
    "OBJECTS",
    "STATES",
    "Background",
    "SceneObject",
    "all_captions",
    "all_scenes",
    "caption",
    "held_out",
    "object_named",
    "wears_hat",
]


@dataclass(frozen=True)
class SceneObject:
    """One thing that can stand in a scene, drawn by one sprite of the Fluent Emoji art."""

    name: str
    """Words of the caption without the article, for example ``open umbrella``."""
    kind: str
    """What it is whatever its state or colour: ``umbrella``. Objects of one kind make state or colour edits."""
    codepoint: str
    """Unicode code point (hexadecimal) that names the sprite file in the emoji package."""
    state: str = ""
    """The word that changes in a non-rigid edit: ``open``; empty where the art has one state only."""
    colour: str = ""
    """The word that changes in a colour edit: ``red``; empty where the art has one colour only."""
    group: str = ""
    """Objects of one group are plausible replacements of each other: ``animal``, ``fruit``, ``vehicle``..."""

    @property
    def phrase(self) -> str:
        """The name with its indefinite article: ``an open umbrella``."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"


OBJECTS: tuple[SceneObject, ...] = (
    SceneObject("horse", "horse", "1f40e", group="animal"),
    SceneObject("zebra", "zebra", "1f993", group="animal"),
    SceneObject("dog", "dog", "1f415", group="animal"),
    SceneObject("cat", "cat", "1f408", group="animal"),
    SceneObject("cow", "cow", "1f404", group="animal"),
    SceneObject("sheep", "sheep", "1f411", group="animal"),
    SceneObject("penguin", "penguin", "1f427", group="animal"),
    SceneObject("elephant", "elephant", "1f418", group="animal"),
    SceneObject("red apple", "apple", "1f34e", colour="red", group="fruit"),
    SceneObject("green apple", "apple", "1f34f", colour="green", group="fruit"),
    SceneObject("pear", "pear", "1f350", group="fruit"),
    SceneObject("orange", "orange", "1f34a", group="fruit"),
    SceneObject("lemon", "lemon", "1f34b", group="fruit"),
    SceneObject("car", "car", "1f697", group="vehicle"),
    SceneObject("taxi", "taxi", "1f695", group="vehicle"),
    SceneObject("bus", "bus", "1f68c", group="vehicle"),
    SceneObject("truck", "truck", "1f69a", group="vehicle"),
    SceneObject("soccer ball", "soccer ball", "26bd", group="ball"),
    SceneObject("basketball", "basketball", "1f3c0", group="ball"),
    SceneObject("closed umbrella", "umbrella", "1f302", state="closed", group="umbrella"),
    SceneObject("open umbrella", "umbrella", "2602-fe0f", state="open", group="umbrella"),
    SceneObject("red book", "book", "1f4d5", state="closed", colour="red", group="book"),
    SceneObject("green book", "book", "1f4d7", state="closed", colour="green", group="book"),
    SceneObject("blue book", "book", "1f4d8", state="closed", colour="blue", group="book"),
    SceneObject("open book", "book", "1f4d6", state="open", group="book"),
    SceneObject("standing person", "person", "1f9cd", state="standing", group="person"),
    SceneObject("walking person", "person", "1f6b6", state="walking", group="person"),
    SceneObject("running person", "person", "1f3c3", state="running", group="person"),
    SceneObject("kneeling person", "person", "1f9ce", state="kneeling", group="person"),
    SceneObject("locked padlock", "padlock", "1f512", state="locked", group="padlock"),
    SceneObject("unlocked padlock", "padlock", "1f513", state="unlocked", group="padlock"),
    SceneObject("closed folder", "folder", "1f4c1", state="closed", group="folder"),
    SceneObject("open folder", "folder", "1f4c2", state="open", group="folder"),
    SceneObject("hatching chick", "chick", "1f423", state="hatching", group="chick"),
    SceneObject("hatched chick", "chick", "1f425", state="hatched", group="chick"),
    SceneObject("smiling face", "face", "1f600", state="smiling", group="face"),
    SceneObject("crying face", "face", "1f62d", state="crying", group="face"),
    SceneObject("sleeping face", "face", "1f634", state="sleeping", group="face"),
    SceneObject("red heart", "heart", "2764-fe0f", colour="red", group="heart"),
    SceneObject("blue heart", "heart", "1f499", colour="blue", group="heart"),
    SceneObject("green heart", "heart", "1f49a", colour="green", group="heart"),
    SceneObject("yellow heart", "heart", "1f49b", colour="yellow", group="heart"),
    SceneObject("red circle", "circle", "1f534", colour="red", group="circle"),
    SceneObject("blue circle", "circle", "1f535", colour="blue", group="circle"),
    SceneObject("green circle", "circle", "1f7e2", colour="green", group="circle"),
    SceneObject("yellow circle", "circle", "1f7e1", colour="yellow", group="circle"),
    SceneObject("house", "house", "1f3e0", group="thing"),
    SceneObject("sunflower", "sunflower", "1f33b", group="thing"),
    SceneObject("rocket", "rocket", "1f680", group="thing"),
    SceneObject("tree", "tree", "1f333", group="thing"),
)


@dataclass(frozen=True)
class Background:
    """One painted background."""

    name: str
    phrase: str
    """Words that end a caption: ``in the snow``."""
    grounded: bool
    """True where an object stands on a ground and casts a soft shadow."""


BACKGROUNDS: tuple[Background, ...] = (
    Background("grass", "on the grass", True),
    Background("beach", "on the beach", True),
    Background("snow", "in the snow", True),
    Background("night", "under the night sky", True),
    Background("sunset", "at sunset", True),
    Background("brick", "in front of a brick wall", False),
    Background("table", "on a wooden table", False),
    Background("leaves", "among autumn leaves", False),
)

ACCESSORIES: tuple[str, ...] = ("none", "hat", "balloon")
ACCESSORY_CODEPOINTS = {"hat": "1f3a9", "balloon": "1f388"}
STATES: tuple[str, ...] = ("none", *dict.fromkeys(o.state for o in OBJECTS if o.state))

_BY_NAME = {o.name: o for o in OBJECTS}
_BACKGROUND_BY_NAME = {b.name: b for b in BACKGROUNDS}
_HAT_GROUPS = frozenset({"animal", "person", "chick", "face"})


def object_named(name: str) -> SceneObject:
    """The object called ``name``; raises KeyError for a name outside :data:`OBJECTS`."""
    return _BY_NAME[name]


def background_named(name: str) -> Background:
    """The background called ``name``; raises KeyError for a name outside :data:`BACKGROUNDS`."""
    return _BACKGROUND_BY_NAME[name]


def wears_hat(name: str) -> bool:
    """Whether the object called ``name`` has a head to put a hat on."""
    return object_named(name).group in _HAT_GROUPS


def caption(object_name: str, background: str, accessory: str = "none") -> str:
    """The caption of a scene: ``a dog wearing a top hat in the snow``."""
    accessory_words = {"none": "", "hat": " wearing a top hat", "balloon": " with a balloon"}[accessory]
    return f"{object_named(object_name).phrase}{accessory_words} {background_named(background).phrase}"


def all_captions() -> list[str]:
    """Every caption of the grammar, each once, in a fixed order."""
    return list(all_scenes())


def all_scenes() -> dict[str, tuple[str, str, str, str]]:
    """Every caption of the grammar with what it says: kind of object, its state and colour, background, accessory."""
    return {
        caption(o.name, b.name, a): (o.kind, f"{o.state} {o.colour}".strip() or "none", b.name, a)
        for o, b, a in product(OBJECTS, BACKGROUNDS, ACCESSORIES)
        if a != "hat" or wears_hat(o.name)
    }


def held_out() -> frozenset[tuple[str, str]]:
    """The (object, background) pairs that no model sees in training: a tenth of all pairs, at most one an object.

    Four objects in five lose one background, and each background loses the same number of objects.
    """
    objects = [o for i, o in enumerate(OBJECTS) if i % 5 != 4]
    return frozenset((o.name, BACKGROUNDS[(3 * i) % len(BACKGROUNDS)].name) for i, o in enumerate(objects))
