"""The parts of the contract: rows, losses, states, and what an optimizer declares about itself."""
