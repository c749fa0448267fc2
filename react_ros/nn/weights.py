"""The one format of learned systems: tensors as safetensors and, beside them, a YAML that says what they are.

NAME.safetensors holds the tensors, NAME.yaml the system, its config, how it was trained, what a viewer must know, and
the sha256 of the tensors. Nothing is unpickled. Configs are frozen dataclasses, written and read strictly.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from react_ros.config import did_you_mean
from react_ros.io import atomic_write, sha256, sha256_of
from react_ros.package import share

if TYPE_CHECKING:  # a config can be read, and a name looked up, without loading PyTorch
    from torch import Tensor, nn


FORMAT = 1
"""Version of the format; another one is refused."""


_TENSORS, _CARD = ".safetensors", ".yaml"


_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib")


_KEYS: dict[str, type] = {
    "system": str, "format": int, "notice": str, "sha256": str, "parameters": int, "config": dict, "training": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weights:
    """What `load_weights` read and checked."""

    name: str
    path: Path
    """The .safetensors file."""
    config: Mapping[str, Any]
    """Plain; `config_from` makes the system's dataclass of it."""
    notice: str
    """What a viewer must know, e.g. that the training data were simulated people; may be empty."""
    training: Mapping[str, Any]
    """Plain: data, command, seed, steps, date, figures."""
    tensors: Mapping[str, Tensor]
    """By name, on the CPU, all finite."""
    sha256: str
    """Of the .safetensors file."""


def models_folder() -> Path:
    """Where the packaged weights lie: models/ of the source tree or of the installed package."""
    return share() / "models"


ALIASES = "aliases.yaml"
"""In models/: which weights a system's short name stands for. Files are dated and never overwritten; aliases move."""


def aliases() -> dict[str, str]:
    """The short names of packaged weights and the dated names that they stand for."""
    try:
        said = yaml.safe_load((models_folder() / ALIASES).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return {str(k): str(v) for k, v in said.items()} if isinstance(said, dict) else {}


def weights_names(system: str) -> list[str]:
    """The names of that system's packaged weights, aliases included, in order."""
    names = []
    for path in sorted(models_folder().glob(f"*{_CARD}")):
        try:
            card = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # named in full when it is asked for
        if isinstance(card, dict) and card.get("system") == system:
            names.append(path.name.removesuffix(_CARD))
    return sorted({*names, *(alias for alias, name in aliases().items() if name in names)})


def save_weights(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    system: str,
    config: Mapping[str, Any],
    training: Mapping[str, Any],
    notice: str,
) -> None:
    """Write PATH.safetensors and PATH.yaml; each appears whole or not at all, also where one was before.

    path: with or without either suffix. tensors: in the type they are to be kept in (float32, or float16 for half the
    size). config, training: names with numbers, text, lists and mappings. Raises ValueError for a tensor that is not
    finite, no tensors at all, or values that YAML cannot hold; OSError where the folder cannot be written.
    """
    import torch
    from safetensors.torch import save

    files = _Files.beside(Path(path).expanduser())
    if not tensors:
        raise ValueError(f"{files.tensors} would hold no tensor: weights need at least one")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{files.tensors} is not written: tensor {name} has values that are not finite")
    # Copied, because safetensors refuses tensors that share memory, as tied weights do.
    plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    data = _in_order(save(plain, metadata={"system": system, "format": str(FORMAT)}))
    card = {
        "system": system,
        "format": FORMAT,
        "notice": notice,
        "sha256": sha256(data),
        "parameters": sum(tensor.numel() for tensor in plain.values()),
        "config": dict(config),
        "training": dict(training),
    }
    try:
        text = yaml.safe_dump(card, sort_keys=False, width=110, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ValueError(f"{files.card} is not written: YAML cannot hold {_one_line(error)}") from None
    atomic_write(files.tensors, data, fsync=True)
    atomic_write(files.card, text, fsync=True)


def _in_order(data: bytes) -> bytes:
    """The same safetensors file, its metadata in order: the library's order changes, and one run makes one file."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def load_weights(name_or_path: str | Path, system: str) -> Weights:
    """Read and check a system's weights.

    name_or_path: the name of packaged weights (dated, or an alias), or the path of either file, of both without suffix, or of a folder that
    holds exactly one pair. Raises ValueError, in one sentence, for what is not there, damaged, another system's or of
    another version; a pickle is refused unopened.
    """
    from safetensors import SafetensorError, safe_open

    files = _find(name_or_path, system)
    card = _read_card(files, system)
    try:
        found = sha256_of(files.tensors)
        with safe_open(files.tensors, framework="pt") as stored:
            said = stored.metadata() or {}
            names = stored.keys()
            tensors = {name: stored.get_tensor(name) for name in names}
    except OSError as error:
        raise ValueError(f"{files.tensors} cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise ValueError(f"{files.tensors} is truncated or no safetensors file: {_one_line(error)}") from None
    if found != card["sha256"]:
        raise ValueError(
            f"{files.tensors} is not the file that {files.card.name} describes: its sha256 begins with {found[:12]}, "
            f"but {card['sha256'][:12]} is expected"
        )
    if said.get("system") != system or said.get("format") != str(FORMAT):
        raise ValueError(
            f"{files.tensors} says that it holds weights of {said.get('system', 'no system')} in format "
            f"{said.get('format', 'unknown')}: {system} in format {FORMAT} is expected"
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{files.tensors}: tensor {name} has values that are not finite: the weights are damaged")
    return Weights(
        files.name,
        files.tensors,
        card["config"],
        card["notice"],
        card["training"],
        types.MappingProxyType(tensors),
        found,
    )


def load_into(module: nn.Module, weights: Weights) -> None:
    """Copy the tensors into the module of the same names and shapes.

    Raises ValueError, in one sentence, for a tensor that is missing, one too many, or one of another shape; the module
    is then unchanged.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in weights.tensors]
    extra = [name for name in weights.tensors if name not in own]
    if missing:
        raise ValueError(f"{weights.path} has no tensor {_some(missing)}, which its config needs")
    if extra:
        raise ValueError(f"{weights.path} has a tensor {_some(extra)}, for which its config has no place")
    for name, tensor in weights.tensors.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{weights.path}: tensor {name} has shape {tuple(tensor.shape)}, "
                f"but its config needs {tuple(own[name].shape)}"
            )
    module.load_state_dict(dict(weights.tensors))


@dataclass(frozen=True, slots=True)
class _Files:
    """The two files of one set of weights."""

    folder: Path
    name: str

    @classmethod
    def beside(cls, path: Path) -> _Files:
        """Of a path to either file, or without suffix; a name may have dots of its own."""
        name = path.name
        for suffix in (_TENSORS, _CARD):
            name = name.removesuffix(suffix)
        return cls(path.parent, name)

    @property
    def tensors(self) -> Path:
        return self.folder / f"{self.name}{_TENSORS}"

    @property
    def card(self) -> Path:
        return self.folder / f"{self.name}{_CARD}"

    @property
    def any(self) -> bool:
        return self.tensors.is_file() or self.card.is_file()


def _find(name_or_path: str | Path, system: str) -> _Files:
    given = str(name_or_path)
    path = Path(given).expanduser()
    if path.suffix.lower() in _PICKLES:
        raise ValueError(
            f"{given} is not opened: such a file can run code when it is read; give weights as {_TENSORS} with "
            f"their {_CARD}"
        )
    if given and given == path.name and (named := _Files(models_folder(), aliases().get(given, given))).any:
        return named
    if given and path.is_dir():
        inside = sorted(path.glob(f"*{_TENSORS}"))
        if len(inside) != 1:
            what = "no weights" if not inside else f"weights {_some([p.name for p in inside])}"
            raise ValueError(f"the folder {given} holds {what}: give one that holds exactly one {_TENSORS}, or a file")
        return _Files.beside(inside[0])
    files = _Files.beside(path)
    if not files.name or not files.any:
        names = weights_names(system)
        there = f"the names are {', '.join(names)}" if names else "there are none by name"
        raise ValueError(
            f"no weights {given!r} for {system}{did_you_mean(files.name, names)}: {there}, or give the path of a {_TENSORS} file"
        )
    return files


def _read_card(files: _Files, system: str) -> dict[str, Any]:
    for there, other in ((files.card, files.tensors), (files.tensors, files.card)):
        if not there.is_file():
            raise ValueError(f"{there} is missing: {other.name} needs it beside it")
    try:
        card = yaml.safe_load(files.card.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{files.card} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{files.card} cannot be read as YAML: {_one_line(error)}") from None
    if not isinstance(card, dict) or "system" not in card or "format" not in card:
        raise ValueError(f"{files.card} describes no weights: it needs {', '.join(_KEYS)}")
    if card["system"] != system:
        raise ValueError(f"{files.card} describes weights of {card['system']}: {system} is expected")
    if card["format"] != FORMAT:
        raise ValueError(f"{files.card} is of format {card['format']}: this version of react_ros reads format {FORMAT}")
    for key, kind in _KEYS.items():
        if not isinstance(card.get(key), kind):
            kinds = {str: "text", int: "a whole number", dict: "names and values"}
            raise ValueError(f"{files.card} describes no weights: its {key} must be {kinds[kind]}")
    return card


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
