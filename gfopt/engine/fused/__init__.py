"""Populations through the compiled loops of `gfopt.kernels`: which networks have a program, and what goes in and out.

`lower` turns a network into a program, which `lowering` collects; `traced` reads a user's own `forward` for it.
`evaluator` gives losses and outputs, `gradient` gradients; `arrays` lays out samples and targets for both.
"""
