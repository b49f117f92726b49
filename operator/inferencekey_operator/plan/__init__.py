"""Pure decisions: what is declared, what differs, what is to be done, and what is said of it.

Decides over values alone: no clock, no network, no log, nothing random. Must not know how a value was observed.
"""
