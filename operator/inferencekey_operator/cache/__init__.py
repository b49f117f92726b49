"""What this process remembers of Kubernetes and of the platform.

Decides what is current and who has a slug. Must not know the steps of a reconcile, nor who may act.
"""
