"""What happens to a fleet while it is measured: one function each, which returns plain numbers.

None judges what it sees; what the numbers mean is said in `figures`.
"""
