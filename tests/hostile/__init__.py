"""Hostile input by the thousand: what people, platforms and old releases may have written, mutated from what is valid.

`material` makes it of what `valid` has; `pure` hands it to single parts, `look` to a whole look, `beside` to the whole
operator with good neighbours, and `on_cluster` is for a real API server. `make fuzz` goes on with fresh examples for as
long as one likes.
"""
