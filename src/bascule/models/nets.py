"""qlib's neural networks: how one is sized, trained, kept and asked.

1. Sizes come from the data: feature columns F = features · steps (`sequence.py`).
2. Training is qlib's own ``fit``. The batch is no larger than the train and valid samples: qlib drops the
   last incomplete batch, and learns nothing at all where there is no complete one.
3. The parameters of the network are kept as plain tensors (`tensors.py`), beside the arguments of qlib's
   class. Loading builds that class again and fills it; what a file names is neither imported nor called.
4. Predicting goes through the network in blocks of one fixed size, filled up with zeros: matrix libraries
   choose their order of additions by shape, so a sample's bits would depend on how many are beside it.
5. A CUDA device is used for training where there is one; predictions are made on the CPU.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from bascule.core import BundleError, ConfigError
from bascule.core.panel import FloatArray
from bascule.models import tensors
from bascule.models.kind import Float64Array, Kind, Lesson, Predict

Layout = Literal["flat", "times", "windows"]
Sizes = Callable[[int, int], dict[str, Any]]
Forward = Callable[[Any, Any], Any]

_BLOCK = 256
_COMMON = frozenset({"n_epochs", "lr", "batch_size", "early_stop", "optimizer"})


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network.

    Attributes:
        model: qlib's model.
        arguments: what its class was called with.
        steps: times in a sample.
    """

    model: Any
    arguments: Mapping[str, Any]
    steps: int


def _plain(model: Any, batch: Any) -> Any:
    return model(batch)


@dataclass(frozen=True, kw_only=True)
class NetKind(Kind):
    """One of qlib's network classes.

    Attributes:
        net: attribute of qlib's model that holds the network.
        sizes: (features, steps) → arguments that follow from the data.
        tunable: parameters beyond ``common``.
        common: parameters that nearly all of qlib's networks share.
        layout: how a sample's columns reach the network: feature after feature (``flat``), time after time
            (``times``), or ``[steps, features]`` (``windows``).
        defaults_: parameters in place of qlib's defaults.
        nested: parameters that go into qlib's ``pt_model_kwargs``, to the network itself.
        fixed: arguments that neither a user nor a file may set.
        forward: (network, batch) → predictions.
        demand: (features, steps) → what is wrong with them, or None.
        adapt: qlib's class → a subclass of it that runs.
        rebuild: changes qlib's model to what its ``fit`` would make of it, before tensors are filled in.
    """

    name: str
    prefix: str
    module: str
    cls: str
    net: str
    sizes: Sizes
    tunable: frozenset[str]
    layout: Layout = "flat"
    common: frozenset[str] = _COMMON
    defaults_: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    nested: frozenset[str] = frozenset()
    forward: Forward = _plain
    rebuild: Callable[[Any], None] | None = None
    adapt: Callable[[Any], Any] | None = None
    complete: bool = True
    relational: bool = False
    weighted: bool = False
    warm: bool = True
    extra: str = "torch"
    demand: Callable[[int, int], str | None] | None = None
    packages: ClassVar[tuple[str, ...]] = ("pyqlib", "torch", "numpy")

    @property
    def parameters(self) -> frozenset[str]:  # type: ignore[override]
        """Names that a user may set."""
        return self.common | self.tunable

    def fits(self, width: int, steps: int) -> None:
        super().fits(width, steps)
        wrong = None if self.demand is None else self.demand(width // steps, steps)
        if wrong is not None:
            raise ConfigError(
                f"qlib's {self.name} {wrong}, received {width // steps} features at {steps} times",
                where="model.steps",
                remedy="change factors and steps, or take another kind of docs/models.md",
            )

    def defaults(self, samples: int) -> dict[str, Any]:
        """Few epochs and early stops: one fold of hourly returns holds little to learn."""
        epochs = {"n_epochs": 20, "early_stop": 4, "lr": 1e-3}
        given = {name: value for name, value in epochs.items() if name in self.parameters}
        if "batch_size" in self.parameters:
            given["batch_size"] = 1024
        return {**given, **self.defaults_}

    # -- training ------------------------------------------------------------------------------------

    def fit(self, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Fitted:
        arguments = self._arguments(params, lesson)
        with tempfile.TemporaryDirectory(prefix="bascule-") as scratch:
            model = self._build(arguments, gpu=lesson.gpu, scratch=Path(scratch))
            if start is not None:
                before, _, _ = _open(start, self.name)
                self._fill(model, before, start, rebuild=False)
            extra: dict[str, Any] = {}
            takes = signature(model.fit).parameters
            if "save_path" in takes:
                extra["save_path"] = str(Path(scratch) / "best")
            if "evals_result" in takes:
                extra["evals_result"] = {}
            if self.weighted and lesson.weights is not None:
                from bascule.models.dataset import reweighter

                extra["reweighter"] = reweighter(lesson)
            model.fit(self._dataset(lesson), **extra)
        return Fitted(model, arguments, lesson.steps)

    def _arguments(self, params: Mapping[str, Any], lesson: Lesson) -> dict[str, Any]:
        chosen = {**self.fixed, **self.sizes(lesson.width // lesson.steps, lesson.steps)}
        inner = {name: value for name, value in params.items() if name in self.nested}
        chosen.update({name: value for name, value in params.items() if name not in self.nested})
        if inner:
            chosen["pt_model_kwargs"] = {**chosen["pt_model_kwargs"], **inner}
        if "batch_size" in chosen:
            chosen["batch_size"] = min(chosen["batch_size"], len(lesson.train), len(lesson.valid))
            if "vbs" in chosen:  # ghost batches divide the batch
                chosen["vbs"] = min(chosen["vbs"], chosen["batch_size"])
        chosen["seed"] = lesson.seed
        return chosen

    def _build(self, arguments: Mapping[str, Any], *, gpu: bool, scratch: Path | None = None) -> Any:
        from importlib import import_module

        made = getattr(import_module(self.module), self.cls)
        if self.adapt is not None:
            made = self.adapt(made)
        takes = signature(made.__init__).parameters
        more: dict[str, Any] = {"GPU": 0 if gpu else -1}
        if "n_jobs" in takes:
            more["n_jobs"] = 0
        if "pretrain_file" in takes:
            more["pretrain_file"] = str((scratch or Path(tempfile.gettempdir())) / "pretrained")
        return made(**arguments, **more)

    def _dataset(self, lesson: Lesson) -> Any:
        from bascule.models.dataset import ArrayDataset, WindowDataset, segments
        from bascule.models.samples import Samples

        parts = segments(lesson)
        if self.layout == "windows":
            return WindowDataset(lesson.panel, parts, lesson.steps)
        if self.layout == "times":
            parts = {
                name: Samples(self._laid(one.features, lesson.steps), one.target, one.row, one.column)
                for name, one in parts.items()
            }
        return ArrayDataset(lesson.panel, lesson.names(), parts)

    def _laid(self, features: FloatArray, steps: int) -> FloatArray:
        from bascule.models.dataset import windows

        if self.layout == "windows":
            return windows(features, steps)
        if self.layout == "times":
            return windows(features, steps).reshape(len(features), -1)
        return features

    # -- keeping -------------------------------------------------------------------------------------

    def save(self, model: Fitted, folder: Path) -> str:
        state = getattr(model.model, self.net).state_dict()
        arrays = {name: value.detach().cpu().numpy() for name, value in state.items()}
        text = json.dumps(model.arguments, sort_keys=True)
        metadata = {"kind": self.name, "arguments": text, "steps": str(model.steps)}
        tensors.write(folder / "model.safetensors", arrays, metadata)
        return "model.safetensors"

    def load(self, path: Path) -> Predict:
        import torch

        arrays, arguments, steps = _open(path, self.name)
        self._refuse_foreign(arguments, path)
        from bascule.models.quiet import quiet

        with quiet(0, 0):
            model = self._build(arguments, gpu=False)
            self._fill(model, arrays, path, rebuild=True)
        network = getattr(model, self.net).eval()

        def ask(block: FloatArray) -> Float64Array:
            laid = np.ascontiguousarray(self._laid(block, steps))
            with torch.inference_mode():
                return np.asarray(self.forward(network, torch.from_numpy(laid)).reshape(-1), np.float64)

        def predict(features: FloatArray) -> Float64Array:
            if self.relational:
                return ask(np.ascontiguousarray(features))
            found = np.empty(len(features))
            for first in range(0, len(features), _BLOCK):
                part = features[first : first + _BLOCK]
                block = np.zeros((_BLOCK, features.shape[1]), np.float32)
                block[: len(part)] = part
                found[first : first + len(part)] = ask(block)[: len(part)]
            return found

        return predict

    def _refuse_foreign(self, arguments: Mapping[str, Any], path: Path) -> None:
        """Refuse arguments that training could not have written.

        `fixed` ones must be the kind's own: qlib imports and calls what ``pt_model_uri`` names, and a file
        must not have a say in that.
        """
        strange = set(arguments) - self.parameters - set(self.sizes(1, 1)) - set(self.fixed) - {"seed"}
        if strange:
            raise BundleError(f"unknown arguments {sorted(strange)}", where=str(path), remedy="train again")
        for name, value in self.fixed.items():
            if name not in arguments or arguments[name] != value:
                raise BundleError(
                    f"its argument {name} is not the kind's own", where=str(path), remedy="train again"
                )

    def _fill(self, model: Any, arrays: Mapping[str, Any], path: Path, *, rebuild: bool) -> None:
        import torch

        if rebuild and self.rebuild is not None:
            self.rebuild(model)
        state = {name: torch.from_numpy(values) for name, values in arrays.items()}
        try:
            getattr(model, self.net).load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise BundleError(
                f"the tensors do not fit {self.name}: {str(error).splitlines()[0]}",
                where=str(path),
                remedy="train again",
            ) from error


def _open(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Tensors, arguments of qlib's class, steps."""
    arrays, metadata = tensors.read(path)
    if metadata.get("kind") != name:
        raise BundleError(
            f"a model of kind {metadata.get('kind')!r}, not {name}", where=str(path), remedy="train again"
        )
    try:
        return arrays, dict(json.loads(metadata["arguments"])), int(metadata["steps"])
    except (KeyError, ValueError, TypeError) as error:
        raise BundleError(
            f"its metadata cannot be read: {error}", where=str(path), remedy="train again"
        ) from error
