"""What a study can name: `entries` finds it out, `listing_table` draws it for `gfopt list`."""

from gfopt.listing.entries import KINDS, Capabilities, Entry, entries
from gfopt.listing.table import listing_table

__all__ = ["KINDS", "Capabilities", "Entry", "entries", "listing_table"]
