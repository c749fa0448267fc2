"""Listener reaction shifts: clips to styles, and styles to changes of weights."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from react_ros.systems.reactdiff.style import Reactions, read_reactions, style_of

from .conftest import SPEAKERS, random_networks, reactions


def clip(seed: int, frames: int = 100) -> Reactions:
    return Reactions(**reactions(seed, frames))


def test_a_style_does_not_depend_on_the_order_of_the_clips() -> None:
    encoder = random_networks().personal.encoder
    clips = [clip(0), clip(1, 60), clip(2, 130)]
    torch.testing.assert_close(style_of(encoder, clips), style_of(encoder, clips[::-1]))


def test_listeners_differ_in_style_and_clips_of_one_length_need_no_padding() -> None:
    encoder = random_networks().personal.encoder
    a, b = style_of(encoder, [clip(0)]), style_of(encoder, [clip(1)])
    assert float((a - b).abs().max()) > 1e-3
    torch.testing.assert_close(style_of(encoder, [clip(0), clip(0, 100)]), a)


def test_padding_has_no_influence_on_the_style() -> None:
    encoder = random_networks().personal.encoder
    face, attributes = (torch.from_numpy(np.array(x))[None, None] for x in clip(3))
    valid = torch.ones(1, 1, 100, dtype=torch.bool)
    valid[..., 70:] = False
    alone = encoder(face[:, :, :70], attributes[:, :, :70], valid[..., :70])
    torch.testing.assert_close(encoder(face, attributes, valid), alone)


def test_a_listener_without_valid_frames_has_the_style_0() -> None:
    encoder = random_networks().personal.encoder
    style = encoder(torch.randn(1, 2, 50, 58), torch.rand(1, 2, 50, 25), torch.zeros(1, 2, 50, dtype=torch.bool))
    assert not style.any()


def test_a_style_of_0_changes_nothing() -> None:
    networks = random_networks(SPEAKERS)
    decoder, x0 = networks.mmt.decoder, torch.randn(2, 60, 16)
    for plain, moved in zip(decoder(x0), decoder(x0, networks.personal.each, torch.zeros(2, 4)), strict=True):
        torch.testing.assert_close(moved, plain)


def test_shifts_of_the_denoiser_equal_its_edited_weights() -> None:
    networks = random_networks()
    denoiser, personal = networks.latent.denoiser, networks.personal
    style, level = torch.tensor([0.5, -1.0, 0.2, 0.9]), torch.tensor([3, 12])
    x, z_bc = torch.randn(2, 50, 6), torch.randn(2, 8)
    edited = deepcopy(denoiser)
    personal.edit(edited.linears(), style)
    moved = denoiser(x, level, z_bc, personal.each, style.expand(2, -1))
    torch.testing.assert_close(edited(x, level, z_bc), moved, atol=1e-4, rtol=1e-4)
    assert float((moved - denoiser(x, level, z_bc)).abs().max()) > 1e-2


def test_edited_weights_equal_the_shifts_and_the_change_has_low_rank() -> None:
    networks = random_networks(SPEAKERS).double()
    decoder, personal = networks.mmt.decoder, networks.personal
    style, x0 = torch.tensor([0.5, -1.0, 0.2, 0.9], dtype=torch.float64), torch.randn(1, 60, 16, dtype=torch.float64)
    edited = deepcopy(decoder)
    personal.edit(edited.linears(), style)
    for shifted, answered in zip(decoder(x0, personal.each, style[None]), edited(x0), strict=True):
        torch.testing.assert_close(answered, shifted)
    assert float((edited(x0)[0] - decoder(x0)[0]).abs().max()) > 1e-2
    for before, after in zip(decoder.linears(), edited.linears(), strict=True):
        assert torch.linalg.matrix_rank(after.weight - before.weight) == 2


def test_a_folder_holds_one_listeners_clips(tmp_path: Path) -> None:
    for i in range(2):
        np.savez(tmp_path / f"{i}.npz", **reactions(i))
    found = read_reactions(tmp_path)
    assert len(found) == 2
    np.testing.assert_array_equal(found[1].face_model, reactions(1)["face_model"])
    np.testing.assert_array_equal(read_reactions(tmp_path / "0.npz")[0].attributes, reactions(0)["attributes"])


@pytest.mark.parametrize("name", ["lively", "quiet"])
def test_the_packaged_listeners_have_names(name: str) -> None:
    (found,) = read_reactions(name)
    assert found.face_model.shape == (750, 58) and found.attributes.shape == (750, 25)


def _without(name: str) -> dict[str, np.ndarray]:
    return {key: array for key, array in reactions(0).items() if key != name}


@pytest.mark.parametrize(("arrays", "sentence"), [
    (_without("attributes"), r"has no attributes: a clip is face_model \(T, 58\) and attributes \(T, 25\)"),
    ({**reactions(0), "face_model": np.zeros((100, 52))}, r"face_model of .* has shape \(100, 52\)"),
    ({**reactions(0), "attributes": np.full((100, 25), np.nan)}, "attributes of .* has values that are not finite"),
    ({**reactions(0), "attributes": np.zeros((90, 25))}, "has 100 frames of face_model and 90 of attributes"),
    (reactions(0, frames=20), "they must be as many, and 25 at least"),
    ({**reactions(0), "attributes": np.array([{}])}, "cannot be read as an npz of reactions"),
])  # fmt: skip
def test_invalid_clips_are_refused_with_a_sentence(tmp_path: Path, arrays: Any, sentence: str) -> None:
    file = tmp_path / "clip.npz"
    np.savez(file, **arrays)
    with pytest.raises(ValueError, match=sentence):
        read_reactions(file)


def test_files_that_are_not_an_npz_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no \.npz"):
        read_reactions(tmp_path)
    for name, content in (("text.npz", b"hello"), ("empty.npz", b"")):
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as an npz of reactions"):
            read_reactions(file)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(ValueError, match="cannot be read as an npz of reactions: it is a single array"):
        read_reactions(tmp_path / "array.npz")
