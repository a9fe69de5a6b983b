"""Networks of the EDM paper (Karras et al., arXiv 2206.00364) and their published weights.

Written from the paper and from the names and shapes of the published tensors. The weights themselves are licensed for
non-commercial use.
"""
