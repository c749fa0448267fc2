"""The challenge's procedure, implemented literally with libraries: the oracle of our metrics."""

from __future__ import annotations

import numpy as np
import torch
from tslearn.metrics import dtw as tslearn_dtw


def literal_ccc(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    out = []
    for d in range(y_true.shape[1]):
        t, p = y_true[:, d], y_pred[:, d]
        with np.errstate(all="ignore"):
            rho = np.nan_to_num(np.corrcoef(t, p)[0, 1])
        out.append(2 * rho * np.std(t) * np.std(p) / (np.var(t) + np.var(p) + (np.mean(t) - np.mean(p)) ** 2 + 1e-8))
    return float(np.mean(out))


def literal_dtw(a: np.ndarray, b: np.ndarray) -> float:
    parts = ((slice(0, 15), 1 / 15), (slice(15, 17), 1.0), (slice(17, 25), 1 / 8))
    return float(sum(weight * tslearn_dtw(a[:, part], b[:, part]) for part, weight in parts))


def literal_correlations(x: np.ndarray, y: np.ndarray, longest: int) -> np.ndarray:
    """(2 L + 1, D)."""
    rows = []
    for lag in range(-longest, longest + 1):
        a, b = (x, y) if lag == 0 else (x[lag:], y[:-lag]) if lag > 0 else (x[:lag], y[-lag:])
        with np.errstate(all="ignore"):
            rows.append([np.corrcoef(a[:, d], b[:, d])[0, 1] for d in range(x.shape[1])])
    return np.array(rows)


def literal_official(predictions, speakers, listeners, appropriate) -> dict[str, float]:
    n, p, t, d = predictions.shape
    corr, dist, syn = [], [], []
    for i in range(n):
        neighbours = listeners[np.flatnonzero(appropriate[i])]
        corr.append(sum(max(literal_ccc(y, x) for y in neighbours) for x in predictions[i]))
        dist.append(sum(min(literal_dtw(x, y) for y in neighbours) for x in predictions[i]))
        means = torch.tensor(literal_correlations(predictions[i, 0], speakers[i], 49), dtype=torch.float32).mean(dim=1)
        syn.append(abs(49 - int(torch.argmax(means))))
    pred = torch.from_numpy(predictions)
    flat = pred.reshape(n, p, t * d).double()
    div = torch.stack([torch.cdist(x, x).pow(2).sum() / (p * (p - 1) * t * d) for x in flat]).mean()
    across = flat.transpose(0, 1)
    dvs = torch.stack([torch.cdist(x, x).pow(2).sum() / (n * (n - 1)) for x in across]).mean() / (t * d)
    return {
        "frcorr": float(np.mean(corr)), "frdist": float(np.mean(dist)), "frdiv": float(div),
        "frvar": float(torch.var(pred, dim=2).mean()), "frdvs": float(dvs), "frsyn": float(np.mean(syn)),
    }  # fmt: skip
