"""`python -m demo`: the operator's main job on a real Kubernetes and a simulated platform, to watch.

On a terminal it shows a live table and stays up until Ctrl-C. Without one (CI, a pipe) it prints plain lines, does the
whole round, and ends with 0 only if every step was seen to happen. This module imports nothing.
"""
