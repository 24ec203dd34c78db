"""Explanation: attribution methods under one contract, metrics, audits of models, and boards of methods × metrics."""
