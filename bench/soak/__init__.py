"""`make soak`: one operator for as long as one likes, with something always going on, and a look at what it holds.

What grows with time and not with work is a leak, and shows in no short test.
"""
