"""Claims about the speech embedding: optional, causal, never made up, never in the frames' way.

No wav2vec 2.0 weights can be had here, so these tests fill the architecture with random numbers: they show that
loading and streaming work, and say nothing of what a real embedding means.
"""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from react_ros.face import Floats
from react_ros.perception.embedding import SpeechEmbedder, import_torchaudio, load_wav2vec2, open_embedder


@pytest.fixture(scope="module")
def small_model() -> torch.nn.Module:
    """A narrow wav2vec 2.0 with random weights: the same code as the base model, 768 wide, one layer."""
    torch.manual_seed(0)
    return import_torchaudio().models.wav2vec2_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=[(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2],
        extractor_conv_bias=False,
        encoder_embed_dim=768,
        encoder_projection_dropout=0.1,
        encoder_pos_conv_kernel=16,
        encoder_pos_conv_groups=16,
        encoder_num_layers=1,
        encoder_num_heads=12,
        encoder_attention_dropout=0.1,
        encoder_ff_interm_features=64,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.1,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.05,
        aux_num_out=None,
    )


def windows(count: int, seed: int = 0) -> list[Floats]:
    return list(np.random.default_rng(seed).normal(0, 0.1, (count, 640)).astype(np.float32))


def same(one: list[Floats | None], other: list[Floats | None]) -> bool:
    return [None if e is None else e.tobytes() for e in one] == [None if e is None else e.tobytes() for e in other]


def test_without_weights_there_is_no_embedder_and_the_log_says_so(caplog):
    with caplog.at_level(logging.INFO):
        assert open_embedder(None) is None and open_embedder("") is None
    assert "no wav2vec 2.0 weights given" in caplog.text


@pytest.mark.parametrize(
    "kind", ["missing", "corrupt.safetensors", "corrupt.pt", "other.safetensors", "list.pt", "code.pt"]
)
def test_weights_that_are_missing_broken_or_of_another_network_are_named_in_one_sentence(kind, tmp_path):
    path = tmp_path / kind
    executed = tmp_path / "executed"
    if kind.startswith("corrupt"):
        path.write_bytes(b"this is no network" * 10)
    elif kind.startswith("other"):
        save_file({"layer.weight": torch.zeros(3, 3)}, path)
    elif kind.startswith("list"):
        torch.save([torch.zeros(3)], path)
    elif kind.startswith("code"):

        class Malicious:
            def __reduce__(self):
                return (open, (str(executed), "w"))

        torch.save({"layer": Malicious()}, path)
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        open_embedder(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 500
    assert not executed.exists()


def test_weights_of_one_wrong_shape_are_named(tmp_path):
    with torch.device("meta"):
        shapes = import_torchaudio().models.wav2vec2_base().state_dict()
    # Scalars where tensors belong: small on disk, every name right, every shape wrong.
    save_file({name: torch.zeros(1) for name in shapes}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"does not fit torchaudio's wav2vec2_base: \d+ of its \d+ tensors"):
        load_wav2vec2(tmp_path / "w.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_of_the_full_size_load_and_give_what_torchaudio_gives(tmp_path, suffix):
    torch.manual_seed(0)
    model = import_torchaudio().models.wav2vec2_base().eval()
    path = tmp_path / f"w{suffix}"
    state = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    embedder = open_embedder(path, window_s=0.4, every=10, deterministic=True)
    assert embedder is not None
    sound = windows(20)
    shown = [embedder.step(w) for w in sound][-1]
    with torch.inference_mode():
        features = model.extract_features(torch.from_numpy(np.concatenate(sound[:10]))[None])[0][-1][0]
    assert shown is not None
    np.testing.assert_allclose(shown, features[-20:].mean(0).numpy(), atol=1e-5)


def test_in_replay_it_changes_at_fixed_frames_and_repeats_itself(small_model):
    def run() -> list[Floats | None]:
        embedder = SpeechEmbedder(small_model, window_s=0.4, every=5, deterministic=True)
        return [embedder.step(w) for w in windows(40)]

    first, second = run(), run()
    # The window is full with frame 10, and an embedding shows five frames after it was begun.
    assert all(e is None for e in first[:14]) and all(e is not None and e.shape == (768,) for e in first[14:])
    changes = [k for k in range(15, 40) if not same(first[k : k + 1], first[k - 1 : k])]
    assert changes == [19, 24, 29, 34, 39]
    assert same(first, second)


def test_the_embedding_depends_only_on_its_trailing_window(small_model):
    def last(sound: list[Floats]) -> Floats | None:
        embedder = SpeechEmbedder(small_model, window_s=0.4, every=5, deterministic=True)
        return [embedder.step(w) for w in sound][-1]

    # Of 30 frames, the embedding shown in the last was begun in the 25th: it hears frames 16 to 25.
    sound = windows(30)
    reference = last(sound)
    assert reference is not None
    for changed in (0, 7, 14, 25, 29):
        other = list(sound)
        other[changed] = windows(1, seed=9)[0]
        assert same([reference], [last(other)]), f"frame {changed} should not be heard"
    sound[20] = windows(1, seed=9)[0]
    assert not same([reference], [last(sound)])


def test_live_a_slow_network_never_holds_up_a_frame(small_model):
    gate, begun = threading.Event(), threading.Event()

    class Slow(torch.nn.Module):
        def extract_features(self, sound):
            begun.set()
            assert gate.wait(20)
            return small_model.extract_features(sound)

    embedder = SpeechEmbedder(Slow(), window_s=0.4, every=5)
    # Returns at all only if no step waits for the network, which the gate holds.
    assert all(embedder.step(w) is None for w in windows(60))
    assert begun.wait(20)
    gate.set()
    embedder.close()
    shown = embedder.step(windows(1)[0])
    assert shown is not None and shown.shape == (768,) and np.isfinite(shown).all()


def test_reset_forgets_the_sound_and_the_embedding(small_model):
    embedder = SpeechEmbedder(small_model, window_s=0.4, every=5, deterministic=True)
    first = [embedder.step(w) for w in windows(20)]
    embedder.reset()
    again = [embedder.step(w) for w in windows(20)]
    assert same(first, again)


@pytest.mark.parametrize("bad", [{"window_s": 0.0}, {"window_s": 60}, {"every": 0}, {"every": 1000}])
def test_a_setting_out_of_range_is_named(small_model, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SpeechEmbedder(small_model, **bad)


def test_a_window_of_another_length_is_refused(small_model):
    with pytest.raises(ValueError, match=r"shape \(640,\), not \(512,\)"):
        SpeechEmbedder(small_model, deterministic=True).step(np.zeros(512, np.float32))
