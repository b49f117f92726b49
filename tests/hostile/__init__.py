"""Hostile input by the thousand: what people, platforms and old releases may have written, mutated from what is valid.

`material` makes it; `pure` hands it to single parts, `beside` to the whole operator with a good neighbour at each side,
and `on_cluster` to a real API server. `make fuzz` goes on with fresh examples for as long as one likes.
"""
