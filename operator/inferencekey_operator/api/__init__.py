"""The resource: its types, names, bounds and rules, as they stand in the API.

Decides what a Workload may say. Must not know a platform, a cluster or a reconcile.
"""
