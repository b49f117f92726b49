"""Faults by the thousand, at the level of processes: killed, stopped and cut off at random moments, all at once.

What is real: everything. An etcd, an API server and a controller manager of our own, the simulated platform and two
operators, one of which leads, are processes; between them are cables, which can be cut. What is seeded: what people do
and which fault hits whom, when and for how long (`plan`). What is not: how the machine runs them, so a seed repeats
the plan of a run, not the run.

What survives a kill. etcd runs with `--unsafe-no-fsync`: SIGKILL takes nothing from the kernel's page cache, so what it
acknowledged is there when it is back, which the judge checks. The platform writes its state before it answers, as a
database does (`platform`).
"""
