"""One process: how it starts and stops, what its probes answer, and what it counts.

Puts all the parts together, and is the only package that knows them all. Decides nothing about a Workload.
"""
