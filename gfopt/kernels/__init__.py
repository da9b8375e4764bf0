"""Compiled loops over populations of networks, for float32 numbers on a CPU; they know addresses and sizes, no torch.

`vectors` is arithmetic on eight numbers at once, `emit` what instructions are made of; `instructions`, `products`,
`derivatives` and `recurrent_cells` are what kernels do to a tile. The kernels: `evaluate` and `differentiate` run the
operations of a `program`, `recurrent` the steps of a sequence.
"""
