"""Waveform tables, their preparation for training, and the simulator."""
