"""What did happen held against what ought to: statistics, claims, exponents, the answer."""
