"""Measurements that the docs quote; each script writes its results and tables."""
