"""`python -m bench`: what the operator costs and how that grows, beside what a team would use instead.

The real control plane, the platform's simulator and each contestant run as processes of their own; all is measured from
outside. `make bench` runs it, docs/cost.md says what is measured and how.
"""
