"""Measurements that the docs quote; each script writes its own results and tables."""
