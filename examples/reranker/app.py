"""Hands the platform a job: which of these documents fit the question? Prints the receipt.

INFERENCEKEY_JOBS_URL comes from the Workload's ConfigMap, INFERENCEKEY_API_KEY from a Secret.
"""

import json
import os
from urllib.request import Request, urlopen

JOB = {"query": "red car", "documents": ["a blue house", "a red car", "a red house"], "top_n": 2}

request = Request(
    os.environ["INFERENCEKEY_JOBS_URL"],
    data=json.dumps(JOB).encode(),
    headers={
        "Authorization": f"Bearer {os.environ['INFERENCEKEY_API_KEY']}",
        "Content-Type": "application/json",
    },
)
with urlopen(request, timeout=30) as response:
    print(response.read().decode())
