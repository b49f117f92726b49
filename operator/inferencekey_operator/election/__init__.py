"""Which replica may act, for which namespaces, and since when.

Decides by Leases alone. Must not know what is done while a Lease is held, nor any Workload.
"""
