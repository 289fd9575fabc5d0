"""From CT series to findings: lung region, candidates, crops, scores and what is written of them.

Research software, not for clinical use.
"""
