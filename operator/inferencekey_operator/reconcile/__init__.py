"""`ensure()` and the steps it is made of: observe, plan, apply, report; and the end of a Workload.

Decides the order of the steps and what an error means for it. Must not know what triggered it, nor kopf or HTTP.
"""
