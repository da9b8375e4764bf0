"""Each normalization by its definition, in numpy: rows and units first, nothing shared with the package."""

from __future__ import annotations

import numpy as np


def _length(v, eps):
    return np.maximum(np.sqrt((v**2).sum(-1, keepdims=True)), eps)


def _centred(v):
    return v - v.mean(-1, keepdims=True)


def _root(z, eps, newton=0):
    """`S^(-1/2) (z - mu)` of rows."""
    c = z - z.mean(0)
    s = c.T @ c / len(z) + eps * np.eye(z.shape[1])
    if not newton:
        values, vectors = np.linalg.eigh(s)
        return c @ (vectors @ np.diag(values**-0.5) @ vectors.T)
    trace = np.trace(s)
    p = np.eye(len(s))
    for _ in range(newton):
        p = 0.5 * (3 * p - np.linalg.matrix_power(p, 3) @ (s / trace))
    return c @ p.T / np.sqrt(trace)


def _moments(z, axis, eps):
    mu = z.mean(axis, keepdims=True)
    return (z - mu) / np.sqrt(((z - mu) ** 2).mean(axis, keepdims=True) + eps)


def standardized(norm, x, w, eps):
    """`(W x - mu) / sigma` of inputs `(N, L, n)` at `L` positions by weights `(H, n)`: `(N, L, H)`."""
    z = x @ w.T
    rows = z.reshape(-1, z.shape[-1])
    if norm == "none":
        return z
    if norm in ("batch", "batch_renorm", "ghost"):  # a ghost batch of 32 holds all of the tests' rows
        return _moments(z, (0, 1), eps)
    if norm == "mean":
        return z - z.mean((0, 1))
    if norm == "layer":
        return _moments(z, (1, 2), eps)
    if norm == "rms":
        return z / np.sqrt((z**2).mean((1, 2), keepdims=True) + eps)
    if norm == "group":
        halves = np.split(z, 2, axis=-1)
        return np.concatenate([_moments(half, (1, 2), eps) for half in halves], axis=-1)
    if norm == "instance":
        return _moments(z, 1, eps)
    if norm == "filter_response":
        return z / np.sqrt((z**2).mean(1, keepdims=True) + eps)
    if norm == "weight":
        return z / _length(w, eps).T
    if norm == "centred_weight":
        return x @ (_centred(w) / _length(_centred(w), eps)).T
    if norm == "weight_standardization":
        spread = _length(_centred(w), eps) / np.sqrt(w.shape[1])
        return x @ (_centred(w) / spread).T
    if norm == "weight_mean":
        t = z / _length(w, eps).T
        return t - t.mean((0, 1))
    if norm == "spectral":
        return z / max(np.linalg.svd(w, compute_uv=False)[0], eps)
    if norm == "cosine":
        return z / (_length(x, eps) * _length(w, eps).T)
    if norm == "pearson":
        x, w = _centred(x), _centred(w)
        return (x @ w.T) / (_length(x, eps) * _length(w, eps).T)
    if norm in ("whitening", "iternorm"):
        return _root(rows, eps, newton=5 if norm == "iternorm" else 0).reshape(z.shape)
    raise AssertionError(f"no formula for {norm}: a new norm needs one here")
