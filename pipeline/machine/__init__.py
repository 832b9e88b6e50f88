"""The computer below: its environment, devices, processes, progress; files by libraries."""
