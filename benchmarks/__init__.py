"""What is measured and never tested: ratios, and longer experiments whose results are saved."""
