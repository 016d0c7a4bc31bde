"""Measures of how many dimensions a matrix of features fills; of singular values (..., k), largest first.

Each returns a number of dimensions, but for the nuclear norm, which is in the unit of the features. SynFlow is of a
network.
"""

import copy

import numpy as np
import torch
from torch import nn

_TINY = 1e-300


def gram_singular_values(gram: np.ndarray) -> np.ndarray:
    """Return the singular values of matrices (d, n) from their Gram matrices (..., d, d) in fp64, largest first.

    Several times faster than a decomposition of the matrices; values below some 1e-8 of the largest are rounding noise.
    """
    eigenvalues = np.linalg.eigvalsh(gram)[..., ::-1]
    return np.sqrt(np.maximum(eigenvalues, 0))


def numerical_rank(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Return how many singular values are over ``tolerance`` times the largest; 0 for a matrix of zeros."""
    return (values > tolerance * values[..., :1]).sum(-1)


def default_tolerance(rows: int, columns: int, dtype: type = np.float32) -> float:
    """Return the tolerance that NumPy's and PyTorch's ``matrix_rank`` choose for a matrix, of its largest value."""
    return max(rows, columns) * float(np.finfo(dtype).eps)


def effective_rank(values: np.ndarray) -> np.ndarray:
    """Return exp of the entropy of the normalised singular values (Roy and Vetterli, EUSIPCO 2007); needs no tolerance.

    1 for a matrix of rank 1, k where k singular values are equal; 0 for a matrix of zeros.
    """
    total = values.sum(-1, keepdims=True)
    share = values / np.maximum(total, _TINY)
    entropy = -(share * np.log(np.maximum(share, _TINY))).sum(-1)
    return np.where(total[..., 0] > 0, np.exp(entropy), 0.0)


def stable_rank(values: np.ndarray) -> np.ndarray:
    """Return the squared Frobenius norm over the squared spectral norm; 0 for a matrix of zeros."""
    squares = values**2
    return squares.sum(-1) / np.maximum(squares.max(-1), _TINY)


def nuclear_norm(values: np.ndarray) -> np.ndarray:
    """Return the sum of the singular values."""
    return values.sum(-1)


def feature_measures(features: np.ndarray) -> dict[str, float]:
    """Return nuclear norm, that of channels of unit variance over its bound, and effective rank of (N, channels)."""
    values = np.linalg.svd(features, compute_uv=False)
    deviation = features.std(0)
    scaled = (features - features.mean(0)) / np.where(deviation > 0, deviation, 1)
    bound = np.sqrt(scaled.size * min(scaled.shape))  # of the norm: sqrt(rank) times the Frobenius norm
    return {
        "nuclear": float(values.sum()),
        "normalised": float(np.linalg.svd(scaled, compute_uv=False).sum() / bound),
        "effective": float(effective_rank(values)),
    }


def log_synflow(net: nn.Module, shape: tuple[int, ...]) -> float:
    """Return the natural logarithm of SynFlow (Tanaka et al., NeurIPS 2020): sum of w dR/dw over all parameters.

    R is the sum of the outputs for an input of ones, of the network in eval mode with its parameters' absolute values
    and without the bound of ReLU6, at which nothing would pass on.

    Args:
        net: with the weights it has, which stay as they are.
        shape: of its input.
    """
    linear = copy.deepcopy(net).double().eval()
    for parameter in linear.parameters():
        parameter.data.abs_()
    for module in linear.modules():
        if isinstance(module, nn.ReLU6):
            module.max_val = float("inf")
    device = next(linear.parameters()).device
    linear(torch.ones(shape, dtype=torch.float64, device=device)).sum().backward()
    saliency = 0.0
    for parameter in linear.parameters():
        if parameter.grad is not None:
            saliency += float((parameter.detach() * parameter.grad).sum())
    return float(np.log(saliency)) if saliency > 0 else float("-inf")
