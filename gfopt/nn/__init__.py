"""Networks, the shared normalization module, and the layout of a network's parameters in a flat vector."""

from gfopt.nn.activations import ACTIVATIONS, is_differentiable, make_activation, parse_activation
from gfopt.nn.build import NetworkKind, build_network, parse_network
from gfopt.nn.initialization import INITIALIZATIONS, Initialization, make_initialization
from gfopt.nn.mlp import MLP, MLPOptions
from gfopt.nn.normalization import Normalization, NormalizedLinear, check_norm
from gfopt.nn.parameters import ParameterLayout
from gfopt.nn.redraw import gene_scale, initial_vectors

__all__ = [
    "ACTIVATIONS",
    "INITIALIZATIONS",
    "MLP",
    "Initialization",
    "MLPOptions",
    "NetworkKind",
    "Normalization",
    "NormalizedLinear",
    "ParameterLayout",
    "build_network",
    "check_norm",
    "gene_scale",
    "initial_vectors",
    "is_differentiable",
    "make_activation",
    "make_initialization",
    "parse_activation",
    "parse_network",
]
