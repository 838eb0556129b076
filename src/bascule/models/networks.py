"""The table of qlib's networks that Bascule trains, keeps and asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bascule.models.nets import NetKind

_RNN = frozenset({"hidden_size", "num_layers", "dropout"})
_ATTENTION = frozenset({"d_model", "nhead", "num_layers", "dropout", "reg"})
_HERE = "qlib.contrib.model."
_SMALL_RNN: Mapping[str, Any] = {"hidden_size": 32, "num_layers": 1}
_SMALL_ATTENTION: Mapping[str, Any] = {"d_model": 32, "nhead": 2, "num_layers": 1, "dropout": 0.1}
_STEPS_AND_BATCH = frozenset({"lr", "batch_size", "optimizer"})


def _features(features: int, steps: int) -> dict[str, Any]:
    return {"d_feat": features}


def _fea_dim(features: int, steps: int) -> dict[str, Any]:
    return {"fea_dim": features}


def _all_columns(features: int, steps: int) -> dict[str, Any]:
    return {"d_feat": features * steps}


def _dense(features: int, steps: int) -> dict[str, Any]:
    return {"pt_model_kwargs": {"input_dim": features * steps, "layers": [64], "act": "LeakyReLU"}}


def _fusion(features: int, steps: int) -> dict[str, Any]:
    return {"pt_model_kwargs": {"d_feat": features, "d_model": 16, "nhead": 2, "dropout": 0.1}}


def _adarnn(features: int, steps: int) -> dict[str, Any]:
    return {"d_feat": features, "len_seq": steps}


def _square(features: int, steps: int) -> str | None:
    return None if features == steps else "convolves over features: it needs as many times as features"


def _alpha360(features: int, steps: int) -> str | None:
    return None if (features, steps) == (6, 60) else "is written for Alpha360 alone, 6 features at 60 times"


def _six(features: int, steps: int) -> str | None:
    # its base network is always built with qlib's defaults and must fit
    return None if features == 6 else "is written for 6 features"


def _small_rows(cls: Any) -> Any:
    """qlib leaves times of fewer than 50 instruments out of its IC, and calls a debugger if none is left."""
    from qlib.contrib.meta.data_selection.utils import ICLoss

    class Dense(cls):  # type: ignore[misc]
        def get_metric(self, pred: Any, target: Any, index: Any) -> Any:
            return -ICLoss(skip_size=2)(pred, target, index)

    return Dense


def _ahead(network: Any, batch: Any) -> Any:
    return network.predict(batch.reshape(len(batch), network.n_input, -1).transpose(1, 2))


def _with_priors(network: Any, batch: Any) -> Any:
    import torch

    return network(batch, torch.ones_like(batch))


def _finished_tabnet(model: Any) -> None:
    """What ``fit`` does before it learns: an output layer on top of the encoder."""
    from qlib.contrib.model.pytorch_tabnet import FinetuneModel

    model.tabnet_model = FinetuneModel(model.out_dim, model.final_out_dim, model.tabnet_model)


def _net(name: str, prefix: str, file: str, cls: str, net: str, **more: Any) -> NetKind:
    options: dict[str, Any] = {"sizes": _features, "tunable": _RNN, "defaults_": _SMALL_RNN, **more}
    return NetKind(name=name, prefix=prefix, module=_HERE + file, cls=cls, net=net, **options)


_SEQUENCE: Mapping[str, Any] = {"layout": "windows", "weighted": True}
_CONVOLUTION: Mapping[str, Any] = {
    "tunable": frozenset({"n_chans", "kernel_size", "num_layers", "dropout"}),
    "defaults_": {"n_chans": 16, "kernel_size": 3, "num_layers": 2, "dropout": 0.1},
}
_CROSS: Mapping[str, Any] = {
    "relational": True,
    "common": frozenset({"n_epochs", "lr", "early_stop", "optimizer"}),
    "tunable": _RNN | {"base_model"},
    "defaults_": {**_SMALL_RNN, "base_model": "GRU"},
}
_KRNN = frozenset({"cnn_dim", "cnn_kernel_size", "rnn_dim", "rnn_dups", "rnn_layers", "dropout"})
_SANDWICH = frozenset(
    {
        "cnn_dim_1",
        "cnn_dim_2",
        "cnn_kernel_size",
        "rnn_dim_1",
        "rnn_dim_2",
        "rnn_dups",
        "rnn_layers",
        "dropout",
    }
)

NETWORKS: tuple[NetKind, ...] = (
    _net(
        "DNNModelPytorch", "mlp", "pytorch_nn", "DNNModelPytorch", "dnn_model",
        sizes=_dense,
        common=_STEPS_AND_BATCH,
        tunable=frozenset({"max_steps", "early_stop_rounds", "eval_steps", "weight_decay", "layers", "act"}),
        nested=frozenset({"layers", "act"}),
        defaults_={"max_steps": 300, "eval_steps": 20, "early_stop_rounds": 5, "optimizer": "adam"},
        # its own scheduler asks torch for an argument that is gone: "2.13" sorts before "2.6.0" as text
        fixed={"scheduler": None},
        adapt=_small_rows,
        weighted=True,
    ),
    _net(
        "GeneralPTNN", "general", "pytorch_general_nn", "GeneralPTNN", "dnn_model",
        sizes=_dense,
        tunable=frozenset({"weight_decay", "layers", "act"}),
        nested=frozenset({"layers", "act"}),
        defaults_={},
        fixed={"pt_model_uri": "qlib.contrib.model.pytorch_nn.Net"},
    ),
    _net(
        "TemporalFusion", "tft", "pytorch_general_nn", "GeneralPTNN", "dnn_model",
        sizes=_fusion,
        layout="windows",
        tunable=frozenset({"weight_decay", "d_model", "nhead", "dropout"}),
        nested=frozenset({"d_model", "nhead", "dropout"}),
        defaults_={},
        fixed={"pt_model_uri": "bascule.models.fusion.TemporalFusion"},
    ),
    _net("LSTM", "lstm", "pytorch_lstm", "LSTM", "lstm_model"),
    _net("LSTM_ts", "lstm", "pytorch_lstm_ts", "LSTM", "LSTM_model", **_SEQUENCE),
    _net("GRU", "gru", "pytorch_gru", "GRU", "gru_model"),
    _net("GRU_ts", "gru", "pytorch_gru_ts", "GRU", "GRU_model", **_SEQUENCE),
    _net("ALSTM", "alstm", "pytorch_alstm", "ALSTM", "ALSTM_model"),
    _net("ALSTM_ts", "alstm", "pytorch_alstm_ts", "ALSTM", "ALSTM_model", **_SEQUENCE),
    _net(
        "TransformerModel", "trf", "pytorch_transformer", "TransformerModel", "model",
        tunable=_ATTENTION, defaults_=_SMALL_ATTENTION,
    ),
    _net(
        "TransformerModel_ts", "trf", "pytorch_transformer_ts", "TransformerModel", "model",
        tunable=_ATTENTION, defaults_=_SMALL_ATTENTION, layout="windows",
    ),
    _net(
        "LocalformerModel", "loc", "pytorch_localformer", "LocalformerModel", "model",
        tunable=_ATTENTION, defaults_=_SMALL_ATTENTION,
    ),
    _net(
        "LocalformerModel_ts", "loc", "pytorch_localformer_ts", "LocalformerModel", "model",
        tunable=_ATTENTION, defaults_=_SMALL_ATTENTION, layout="windows",
    ),
    _net("TCN", "tcn", "pytorch_tcn", "TCN", "tcn_model", **_CONVOLUTION),
    _net(
        "TCN_ts", "tcn", "pytorch_tcn_ts", "TCN", "TCN_model",
        **_CONVOLUTION, layout="windows", demand=_square,
    ),
    _net(
        "TabnetModel", "tabnet", "pytorch_tabnet", "TabnetModel", "tabnet_model",
        sizes=_all_columns,
        tunable=frozenset(
            {"out_dim", "n_d", "n_a", "n_shared", "n_ind", "n_steps", "relax", "vbs", "pretrain", "ps",
             "pretrain_n_epochs"}
        ),
        defaults_={"n_d": 8, "n_a": 8, "out_dim": 8, "n_steps": 3, "vbs": 256, "pretrain": False, "lr": 0.01},
        forward=_with_priors,
        rebuild=_finished_tabnet,
        warm=False,
    ),
    _net(
        "SFM_Model", "sfm", "pytorch_sfm", "SFM", "sfm_model",
        tunable=frozenset({"hidden_size", "freq_dim", "dropout_W", "dropout_U"}),
        defaults_={"hidden_size": 16, "freq_dim": 5, "optimizer": "adam"},
    ),
    _net(
        "KRNN", "krnn", "pytorch_krnn", "KRNN", "krnn_model",
        sizes=_fea_dim, layout="times", tunable=_KRNN,
        defaults_={"cnn_dim": 16, "rnn_dim": 16, "rnn_dups": 2, "rnn_layers": 1},
    ),
    _net(
        "Sandwich", "sandwich", "pytorch_sandwich", "Sandwich", "sandwich_model",
        sizes=_fea_dim, layout="times", tunable=_SANDWICH,
        defaults_={
            "cnn_dim_1": 16, "cnn_dim_2": 8, "rnn_dim_1": 8, "rnn_dim_2": 8, "rnn_dups": 2, "rnn_layers": 1,
        },
    ),
    _net(
        "GATs", "gats", "pytorch_gats", "GATs", "GAT_model",
        **{**_CROSS, "tunable": frozenset({"dropout", "base_model"}), "defaults_": {"base_model": "GRU"}},
        demand=_six,
    ),
    _net("GATs_ts", "gats", "pytorch_gats_ts", "GATs", "GAT_model", **_CROSS, layout="windows"),
    _net(
        "ADARNN", "ada", "pytorch_adarnn", "ADARNN", "model",
        sizes=_adarnn,
        tunable=_RNN | {"pre_epoch", "dw", "loss_type", "len_win", "n_splits"},
        defaults_={"hidden_size": 16, "num_layers": 1, "n_epochs": 6, "pre_epoch": 3, "loss_type": "cosine"},
        forward=_ahead,
        demand=_alpha360,
    ),
)  # fmt: skip
