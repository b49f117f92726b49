"""What triggers a reconcile of a Workload, and the workers that carry it out.

The only package that knows kopf. Decides when a Workload is reconciled, and when again; not what a reconcile does.
"""
