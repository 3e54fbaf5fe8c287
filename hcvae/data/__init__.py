"""Waveform tables, their split and preparation, and the simulator."""
