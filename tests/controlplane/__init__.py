"""A real Kubernetes control plane for the tests, the demo and the benchmarks.

`lookup.find` says where a control plane is to be had on this machine and builds one where it must;
`cluster.start` starts it. Everything up to the binaries works with the standard library alone, so that
`python -m controlplane` needs nothing installed; this module therefore imports nothing.
"""
