"""Processes, device, precision, threads, memory and clocks."""
