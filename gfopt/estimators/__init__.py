"""Estimators for scikit-learn: networks trained without gradients, behind `fit` and `predict`."""

from gfopt.estimators.classifier import GradientFreeClassifier
from gfopt.estimators.module import ScaledNetwork
from gfopt.estimators.regressor import GradientFreeRegressor

__all__ = ["GradientFreeClassifier", "GradientFreeRegressor", "ScaledNetwork"]
