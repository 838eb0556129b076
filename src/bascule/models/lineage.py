"""Where a signal came from: data → model → bundle, kept in an MLflow registry.

1. Every model becomes a run: settings as parameters, digests as tags (data, samples and recipe, parent
   model), validation IC as a metric, its folder as artifacts; and a version of a registered model.
2. The version that serves carries the alias ``champion``. The store's link (`champions.py`) is the truth;
   `sync` makes the registry say the same, also after a crash in between.
3. A signal bundle becomes a run whose tags name the models in it; `trace` follows them back to the data.

The registry is one SQLite file by default (qlib's default of plain files is refused by current MLflow). It
has the layout of qlib's recorder: ``R.list_recorders`` and qlib's own tools read it. It is written through
MLflow's client, not qlib's recorder, which would store the difference of the user's source tree with every
run.

Importing this module is light; MLflow is imported when a registry is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bascule.core import BundleError, ConfigError
from bascule.models.champions import Champions
from bascule.models.predictor import read_meta

EXPERIMENT = "bascule"
ALIAS = "champion"
_LONGEST = 500


@dataclass(frozen=True)
class Origin:
    """One model behind a signal.

    Attributes:
        model_id: of the model.
        version: in the registry.
        fingerprint: of its samples and recipe.
        data: fingerprint of the data.
        parent: fingerprint of the model that it went on from, or "".
        train: its training window, start and end.
    """

    model_id: str
    version: str
    fingerprint: str
    data: str
    parent: str
    train: tuple[str, str]


class Lineage:
    """A registry.

    Args:
        folder: holds ``mlflow.sqlite`` and the artifacts.
        name: of the registered model.
        uri: tracking URI of another MLflow registry in place of the file.
    """

    def __init__(self, folder: Path, *, name: str = "bascule", uri: str | None = None) -> None:
        # MLflow reports its use to its makers unless told not to before it is imported
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        self.uri = uri or f"sqlite:///{(folder / 'mlflow.sqlite').resolve()}"
        self.name = name
        self._error = MlflowException
        self._client = MlflowClient(self.uri, self.uri)
        found = self._client.get_experiment_by_name(EXPERIMENT)
        self.experiment = (
            self._client.create_experiment(EXPERIMENT, (folder / "artifacts").resolve().as_uri())
            if found is None
            else found.experiment_id
        )
        try:
            self._client.get_registered_model(name)
        except MlflowException:
            self._client.create_registered_model(name)

    # -- writing -------------------------------------------------------------------------------------

    def record(self, folder: Path, *, data: str, metrics: Mapping[str, float] | None = None) -> str:
        """Register a finished model; one that is registered already is left as it is.

        Args:
            folder: as `train_walk_forward` or `Retrainer.train` left it.
            data: fingerprint of the data behind its features (``Store.fingerprint``, ``Panel.fingerprint``).
            metrics: further metrics, such as an out-of-sample IC.

        Returns:
            Its version in the registry.
        """
        meta = read_meta(folder)
        known = self.version(str(meta["fingerprint"]))
        if known is not None:
            return known
        parameters = {f"model.{k}": v for k, v in meta["params"].items()}
        parameters |= {key: meta[key] for key in ("kind", "label", "features", "steps", "seed", "row_stride")}
        tags = {
            "bascule.data": data,
            "bascule.fingerprint": str(meta["fingerprint"]),
            "bascule.checksum": str(meta["checksum"]),
            "bascule.parent": str(meta.get("start", "")),
            "bascule.train.start": meta["windows"]["train"][0],
            "bascule.train.end": meta["windows"]["train"][1],
        }
        valid = meta["valid_ic"]["mean"]
        measured = {**({} if valid is None else {"valid_rank_ic": valid}), **(metrics or {})}
        run = self._run(str(meta["model_id"]), parameters, tags, measured, [folder])
        made = self._client.create_model_version(
            self.name, f"{run.info.artifact_uri}/{folder.name}", run.info.run_id, tags=tags
        )
        return str(made.version)

    def sync(self, store: Champions, *, data: str) -> str | None:
        """Make the alias ``champion`` say what the store's link says; returns its version, None if nothing
        serves.

        Args:
            store: the truth.
            data: fingerprint of the data, for a champion that is not registered yet.
        """
        if not store.serving:
            return None
        version = self.record(store.models / store.serving, data=data)
        if self.champion() != version:
            self._client.set_registered_model_alias(self.name, ALIAS, version)
        return version

    def signals(self, bundle: str, models: Iterable[Path], *, data: str) -> str:
        """Record a signal bundle and the models in it; returns the run's id.

        Args:
            bundle: its id or folder name.
            models: folders of its models; those not registered yet are.
            data: fingerprint of the data.
        """
        versions = [self.record(folder, data=data) for folder in models]
        tags = {"bascule.bundle": bundle, "bascule.data": data, "bascule.models": ",".join(versions)}
        return str(self._run(f"signals {bundle}", {}, tags, {}, []).info.run_id)

    def _run(
        self,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        folders: Iterable[Path],
    ) -> Any:
        run = self._client.create_run(self.experiment, run_name=name, tags=dict(tags))
        try:
            for key, value in parameters.items():
                self._client.log_param(run.info.run_id, key, str(value)[:_LONGEST])
            for key, number in metrics.items():
                self._client.log_metric(run.info.run_id, key, float(number))
            for folder in folders:
                self._client.log_artifacts(run.info.run_id, str(folder), folder.name)
        except BaseException:
            self._client.set_terminated(run.info.run_id, "FAILED")
            raise
        self._client.set_terminated(run.info.run_id, "FINISHED")
        return run

    # -- reading -------------------------------------------------------------------------------------

    def version(self, fingerprint: str) -> str | None:
        """The registry's version of a model, None if it is not there."""
        found = self._client.search_model_versions(
            f"name = '{self.name}' and tags.`bascule.fingerprint` = '{fingerprint}'"
        )
        return str(found[0].version) if found else None

    def champion(self) -> str | None:
        """The version that serves, None if none does."""
        try:
            return str(self._client.get_model_version_by_alias(self.name, ALIAS).version)
        except self._error:
            return None

    def trace(self, bundle: str) -> tuple[Origin, ...]:
        """From a signal bundle back to its data: the models in it, with what each was made of.

        Raises:
            BundleError: the bundle is not recorded.
        """
        runs = self._client.search_runs(
            [self.experiment], f"tags.`bascule.bundle` = '{_plain(bundle)}'", max_results=1
        )
        if not runs:
            raise BundleError(
                f"bundle {bundle!r} is not recorded", where=self.uri, remedy="record it with Lineage.signals"
            )
        found = []
        for version in runs[0].data.tags["bascule.models"].split(","):
            made = self._client.get_model_version(self.name, version)
            tags = made.tags
            run = self._client.get_run(made.run_id)
            found.append(
                Origin(
                    run.info.run_name,
                    version,
                    tags["bascule.fingerprint"],
                    tags["bascule.data"],
                    tags["bascule.parent"],
                    (tags["bascule.train.start"], tags["bascule.train.end"]),
                )
            )
        return tuple(found)


def _plain(text: str) -> str:
    if "'" in text or "`" in text:
        raise ConfigError(
            f"{text!r} is no bundle's name", where="lineage", remedy="give the name of its folder"
        )
    return text
