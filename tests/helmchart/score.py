"""kube-score: what a reviewer asks about manifests, and what the chart's values answer."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path


def findings(kube_score: Path, manifests: str) -> set[str]:
    """The ids of the checks that find something to ask about, warnings among them."""
    command = [str(kube_score), "score", "--output-format=json", "-"]
    result = subprocess.run(command, input=manifests, capture_output=True, text=True, timeout=120, check=False)
    report = json.loads(result.stdout)
    assert report, "it looked at nothing"
    fine = 10
    checks = [check for each in report for check in each["checks"] if not check["skipped"]]
    return {str(check["check"]["id"]) for check in checks if check["grade"] < fine}


def answers(values: str) -> set[str]:
    """The ids that a comment of the values answers."""
    return set(re.findall(r"# kube-score ([a-z-]+):", values))
