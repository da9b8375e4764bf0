"""Networks, the shared normalization module, and the layout of a network's parameters in a flat vector."""

from gfopt.nn._options import NetworkOptions
from gfopt.nn.activations import ACTIVATIONS, is_differentiable, make_activation, parse_activation
from gfopt.nn.build import NetworkKind, build_network, parse_network
from gfopt.nn.cnn import CNN, CNNOptions
from gfopt.nn.data_init import initialize_from_data, wants_data
from gfopt.nn.initialization import INITIALIZATIONS, Initialization, make_initialization
from gfopt.nn.mlp import MLP, MLPOptions
from gfopt.nn.normalization import Normalization, NormalizedConv2d, NormalizedLinear, NormLayer, check_norm
from gfopt.nn.parameters import ParameterLayout
from gfopt.nn.recurrent import GRU, LSTM, RNN, LSTMOptions, RNNOptions
from gfopt.nn.redraw import gene_scale, initial_vectors
from gfopt.nn.redundancy import redundant_genes, with_neutral
from gfopt.nn.residual import ResidualMLP, ResidualOptions
from gfopt.nn.residual_cnn import ResidualCNN, ResidualCNNOptions

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "GRU",
    "INITIALIZATIONS",
    "LSTM",
    "MLP",
    "RNN",
    "CNNOptions",
    "Initialization",
    "LSTMOptions",
    "MLPOptions",
    "NetworkKind",
    "NetworkOptions",
    "NormLayer",
    "Normalization",
    "NormalizedConv2d",
    "NormalizedLinear",
    "ParameterLayout",
    "RNNOptions",
    "ResidualCNN",
    "ResidualCNNOptions",
    "ResidualMLP",
    "ResidualOptions",
    "build_network",
    "check_norm",
    "gene_scale",
    "initial_vectors",
    "initialize_from_data",
    "is_differentiable",
    "make_activation",
    "make_initialization",
    "parse_activation",
    "parse_network",
    "redundant_genes",
    "wants_data",
    "with_neutral",
]
