"""A small temporal fusion network in the manner of the TFT (Lim et al. 2021, arXiv 1912.09363).

1. Each feature is embedded by itself; a gated residual network weighs the features at each time (variable
   selection).
2. An LSTM reads the weighted embeddings; a gate adds its output to its input.
3. Multi-head attention looks from the last time over all times; a gate adds what it finds.
4. A gated residual network turns the last time into one number.

qlib's own TFT needs TensorFlow 1 and is not part of its wheel. This one keeps the parts that matter for a
point forecast of one horizon from observed inputs; it has no known future inputs, statics or quantiles. It is
trained by qlib's ``GeneralPTNN``. Importing this module imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gated(nn.Module):
    """Gated residual network: skip + GLU(dense(ELU(dense(x)))), normalised."""

    def __init__(self, width: int, hidden: int, out: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, hidden), nn.ELU(), nn.Linear(hidden, hidden))
        self.drop = nn.Dropout(dropout)
        self.gate = nn.Linear(hidden, 2 * out)
        self.skip = nn.Linear(width, out) if width != out else nn.Identity()
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        gated = nn.functional.glu(self.gate(self.drop(self.inner(x))), dim=-1)
        return self.norm(self.skip(x) + gated)  # type: ignore[no-any-return]


class TemporalFusion(nn.Module):
    """``[n, steps, features]`` → ``[n, 1]``."""

    def __init__(self, d_feat: int, d_model: int = 16, nhead: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(d_feat, d_model) / d_model**0.5)
        self.shift = nn.Parameter(torch.zeros(d_feat, d_model))
        self.select = Gated(d_feat, d_model, d_feat, dropout)
        self.reader = nn.LSTM(d_model, d_model, batch_first=True)
        self.read_gate = nn.Linear(d_model, 2 * d_model)
        self.read_norm = nn.LayerNorm(d_model)
        self.attention = nn.MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=True)
        self.look_gate = nn.Linear(d_model, 2 * d_model)
        self.look_norm = nn.LayerNorm(d_model)
        self.last = Gated(d_model, d_model, d_model, dropout)
        self.out = nn.Linear(d_model, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.softmax(self.select(x), dim=-1)
        # Σ_f weight_f (x_f · scale_f + shift_f), without ever holding [n, steps, features, d_model]
        seen = (weight * x) @ self.scale + weight @ self.shift
        read, _ = self.reader(seen)
        read = self.read_norm(seen + nn.functional.glu(self.read_gate(read), dim=-1))
        now = read[:, -1:, :]
        found, _ = self.attention(now, read, read, need_weights=False)
        now = self.look_norm(now + nn.functional.glu(self.look_gate(found), dim=-1))
        return self.out(self.last(now[:, 0, :]))  # type: ignore[no-any-return]
