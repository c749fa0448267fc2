"""Weights of learned systems on disk: tensors as safetensors and, beside them, a YAML card.

NAME.safetensors holds the tensors; NAME.yaml the system, its config, how it was trained, what viewers must be told, and
the SHA-256 of NAME.safetensors. Nothing is unpickled.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from react_ros.config import did_you_mean, dump_yaml, parse_yaml
from react_ros.io import atomic_write, sha256, sha256_of
from react_ros.package import share

if TYPE_CHECKING:  # names can be looked up without importing PyTorch
    from torch import Tensor, nn


FORMAT = 1
"""Version of the format; others are refused."""


_TENSORS, _CARD = ".safetensors", ".yaml"


_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib")


_KEYS: dict[str, type] = {
    "system": str, "format": int, "notice": str, "sha256": str, "parameters": int, "config": dict, "training": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that were read and checked."""

    name: str
    path: Path
    """The .safetensors file."""
    config: Mapping[str, Any]
    """A plain mapping; `config_from` builds the system's dataclass from it."""
    notice: str
    """What viewers must be told, e.g. that the training data were simulated people; may be empty."""
    training: Mapping[str, Any]
    """A plain mapping: data, command, seed, steps, date, figures."""
    tensors: Mapping[str, Tensor]
    """By name, on the CPU, all finite."""
    sha256: str
    """Of the .safetensors file."""


def models_folder() -> Path:
    """The folder of the packaged weights: models/ of the source tree or of the installed package."""
    return share() / "models"


ALIASES = "aliases.yaml"
"""In a folder of weights: short names, with the dated names they stand for. Dated files are never overwritten."""


def aliases(folder: Path | None = None) -> dict[str, str]:
    """The short names in a folder of weights (None: the packaged ones), with the dated names they stand for."""
    try:
        names = parse_yaml(((folder or models_folder()) / ALIASES).read_text("utf-8"), exponents=False)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return {str(k): str(v) for k, v in names.items()} if isinstance(names, dict) else {}


def weights_names(system: str, folder: Path | None = None) -> list[str]:
    """The names of a system's weights in models/ and in the folder, with aliases, sorted."""
    out: set[str] = set()
    for place in _folders(folder):
        names = []
        for path in sorted(place.glob(f"*{_CARD}")):
            try:
                card = parse_yaml(path.read_text("utf-8"), exponents=False)
            except (OSError, UnicodeDecodeError, yaml.YAMLError):
                continue  # loading it gives the error
            if isinstance(card, dict) and card.get("system") == system:
                names.append(path.name.removesuffix(_CARD))
        out.update(names, (alias for alias, name in aliases(place).items() if name in names))
    return sorted(out)


def weights_with_digest(system: str, digest: str) -> str:
    """The dated name of a system's packaged weights with this SHA-256; empty where there are none.

    An alias may have moved to newer weights since something was recorded with the older ones.
    """
    for path in sorted(models_folder().glob(f"*{_CARD}")):
        try:
            card = parse_yaml(path.read_text("utf-8"), exponents=False)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        if isinstance(card, dict) and (card.get("system"), card.get("sha256")) == (system, digest):
            return path.name.removesuffix(_CARD)
    return ""


def _folders(own: Path | None) -> list[Path]:
    return [models_folder()] if own is None else [own, models_folder()]


def save_weights(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    system: str,
    config: Mapping[str, Any],
    training: Mapping[str, Any],
    notice: str,
) -> None:
    """Write PATH.safetensors and PATH.yaml, each atomically.

    path: with or without either suffix. tensors: in the type of the file (float32, or float16 for half the size).
    config, training: mappings of numbers, text, lists and mappings. Raises ValueError for a tensor that is not finite,
    for no tensors, and for values that YAML cannot hold; OSError where the folder cannot be written.
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
        text = dump_yaml(card, sort_keys=False, width=110, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ValueError(f"{files.card} is not written: YAML cannot hold {_one_line(error)}") from None
    atomic_write(files.tensors, data, fsync=True)
    atomic_write(files.card, text, fsync=True)


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with sorted metadata: equal runs give equal files, while the library's order varies."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def load_weights(name_or_path: str | Path, system: str, folder: Path | None = None) -> Weights:
    """Read and check a system's weights.

    name_or_path: the name of weights (dated, or an alias), or the path of either file, of both without suffix, or of a
    folder that holds exactly one pair. folder: the system's own folder of weights, where names are looked up before
    models/; for systems of other packages. Raises ValueError, in one sentence, for weights that are missing, damaged,
    of another system or of another format; a pickle is refused unopened.
    """
    from safetensors import SafetensorError, safe_open

    files = _find(name_or_path, system, folder)
    card = _read_card(files, system)
    try:
        found = sha256_of(files.tensors)
        with safe_open(files.tensors, framework="pt") as stored:
            metadata = stored.metadata() or {}
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
    if metadata.get("system") != system or metadata.get("format") != str(FORMAT):
        raise ValueError(
            f"{files.tensors} holds weights of {metadata.get('system', 'no system')} in format "
            f"{metadata.get('format', 'unknown')}: {system} in format {FORMAT} is expected"
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
    """Copy the tensors into a module with the same names and shapes.

    Raises ValueError, in one sentence, for a tensor that is missing, unexpected, or of another shape; the module is
    then unchanged.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in weights.tensors]
    extra = [name for name in weights.tensors if name not in own]
    if missing:
        raise ValueError(f"{weights.path} has no tensor {_some(missing)}, which its config needs")
    if extra:
        raise ValueError(f"{weights.path} has a tensor {_some(extra)}, which its config does not have")
    for name, tensor in weights.tensors.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{weights.path}: tensor {name} has shape {tuple(tensor.shape)}, "
                f"but its config needs {tuple(own[name].shape)}"
            )
    module.load_state_dict(dict(weights.tensors))


@dataclass(frozen=True, slots=True)
class _Files:
    """The two files of one set of weights, without checks."""

    folder: Path
    name: str

    @classmethod
    def beside(cls, path: Path) -> _Files:
        """From the path of either file, or without suffix; names may contain dots."""
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
    def any_exists(self) -> bool:
        return self.tensors.is_file() or self.card.is_file()


def _find(name_or_path: str | Path, system: str, folder: Path | None) -> _Files:
    given = str(name_or_path)
    path = Path(given).expanduser()
    if path.suffix.lower() in _PICKLES:
        raise ValueError(
            f"{given} is not opened: such a file can run code when it is read; give weights as {_TENSORS} with "
            f"their {_CARD}"
        )
    if given and given == path.name:
        for place in _folders(folder):
            if (named := _Files(place, aliases(place).get(given, given))).any_exists:
                return named
    if given and path.is_dir():
        inside = sorted(path.glob(f"*{_TENSORS}"))
        if len(inside) != 1:
            what = "no weights" if not inside else f"weights {_some([p.name for p in inside])}"
            raise ValueError(f"the folder {given} holds {what}: give one that holds exactly one {_TENSORS}, or a file")
        return _Files.beside(inside[0])
    files = _Files.beside(path)
    if not files.name or not files.any_exists:
        names = weights_names(system, folder)
        known = f"the names are {', '.join(names)}" if names else "there are none by name"
        guess = did_you_mean(files.name, names)
        raise ValueError(f"no weights {given!r} for {system}{guess}: {known}, or give the path of a {_TENSORS} file")
    return files


def _read_card(files: _Files, system: str) -> dict[str, Any]:
    for file, other in ((files.card, files.tensors), (files.tensors, files.card)):
        if not file.is_file():
            raise ValueError(f"{file} is missing: it must lie beside {other.name}")
    try:
        card = parse_yaml(files.card.read_text("utf-8"), exponents=False)
    except OSError as error:
        raise ValueError(f"{files.card} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{files.card} cannot be read as YAML: {_one_line(error)}") from None
    if not isinstance(card, dict) or "system" not in card or "format" not in card:
        raise ValueError(f"{files.card} is not a card of weights: it needs {', '.join(_KEYS)}")
    if card["system"] != system:
        raise ValueError(f"{files.card} is the card of weights of {card['system']}: {system} is expected")
    if card["format"] != FORMAT:
        raise ValueError(f"{files.card} has format {card['format']}: this version of react_ros reads format {FORMAT}")
    for key, kind in _KEYS.items():
        if not isinstance(card.get(key), kind):
            kinds = {str: "text", int: "a whole number", dict: "names and values"}
            raise ValueError(f"{files.card} is not a card of weights: its {key} must be {kinds[kind]}")
    return card


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
