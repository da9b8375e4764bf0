"""Measurements that say why a network is hard or easy to train."""

from gfopt.diagnostics.gradient_flow import LayerGradient, backward_gain, gradient_flow

__all__ = ["LayerGradient", "backward_gain", "gradient_flow"]
