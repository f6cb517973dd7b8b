"""The world is a pure function of a value, and its grammar says what is in the picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from bench.toybox.vocabulary import ACCESSORIES, BACKGROUNDS, OBJECTS, all_captions, caption, held_out, wears_hat
from bench.toybox.world import SIZE, Scene, random_scene, render


def test_enough_words_and_no_name_twice() -> None:
    assert len(OBJECTS) >= 44
    assert len(BACKGROUNDS) >= 8
    assert len({o.name for o in OBJECTS}) == len(OBJECTS) == len({o.codepoint for o in OBJECTS})
    assert len(set(all_captions())) == len(all_captions())


def test_rendering_is_pure() -> None:
    scene = Scene("dog", "snow", "hat", x=30, flip=True, seed=5)
    first, second = render(scene), render(replace(scene))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.image.shape == (SIZE, SIZE, 3)
    assert first.image.dtype == np.uint8


@pytest.mark.parametrize("background", [b.name for b in BACKGROUNDS])
def test_a_background_edit_leaves_the_object(background: str) -> None:
    before = render(Scene("red circle", "brick", seed=1))
    after = render(Scene("red circle", background, seed=1))
    inside = before.object_mask
    assert (before.object_mask == after.object_mask).all()
    # The rim of the sprite is half transparent and lets the background through; its inside may not move by more than that.
    assert np.median(np.abs(before.image[inside].astype(int) - after.image[inside].astype(int))) <= 1


def test_every_field_matters() -> None:
    scene = Scene("horse", "grass", "none", x=30, y=38, scale=1.0, flip=False, seed=3)
    other = {
        "object": "zebra",
        "background": "beach",
        "accessory": "balloon",
        "x": 33,
        "y": 40,
        "scale": 1.08,
        "flip": True,
        "seed": 4,
    }
    assert set(other) == {f.name for f in fields(Scene)}
    for name, value in other.items():
        assert (render(scene).image != render(replace(scene, **{name: value})).image).any(), name


@pytest.mark.parametrize("wearer", [o.name for o in OBJECTS if wears_hat(o.name)])
def test_hats_sit_inside_the_picture_and_touch_the_wearer(wearer: str) -> None:
    for flip in (False, True):
        drawn = render(Scene(wearer, "grass", "hat", flip=flip))
        hat = drawn.accessory_mask
        assert hat.sum() > 40
        assert not hat[0].any()
        ys, xs = np.nonzero(hat)
        below = drawn.object_mask[ys.max() - 2 : ys.max() + 4, xs.min() : xs.max() + 1]
        assert below.any()


def test_unknown_words_and_hats_without_a_head_are_refused() -> None:
    for scene in (Scene("unicorn", "grass"), Scene("dog", "moon"), Scene("dog", "grass", "scarf"), Scene("car", "grass", "hat")):
        with pytest.raises(KeyError):
            render(scene)


def test_articles() -> None:
    assert caption("open umbrella", "beach") == "an open umbrella on the beach"
    assert caption("dog", "snow", "hat") == "a dog wearing a top hat in the snow"


def test_a_tenth_of_the_pairs_is_held_out_evenly() -> None:
    pairs = held_out()
    assert len(pairs) == len(OBJECTS) * len(BACKGROUNDS) // 10
    assert set(Counter(b for _, b in pairs).values()) == {len(pairs) // len(BACKGROUNDS)}
    assert max(Counter(o for o, _ in pairs).values()) == 1


def test_training_never_draws_a_held_out_pair() -> None:
    rng = np.random.default_rng(0)
    assert not any((s.object, s.background) in held_out() for s in (random_scene(rng) for _ in range(3000)))
    assert all((s.object, s.background) in held_out() for s in (random_scene(rng, only_held_out=True) for _ in range(50)))
    drawn = [random_scene(rng, include_held_out=True) for _ in range(1000)]
    assert any((s.object, s.background) in held_out() for s in drawn)
    assert {s.accessory for s in drawn} == set(ACCESSORIES)
