"""Real pods: the image, and a cluster that runs it, by kind where Docker answers, else by one node without Docker."""
