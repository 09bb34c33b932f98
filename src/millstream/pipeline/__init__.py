"""The pipeline: where the rooms that do not know each other meet; open `hallway.py` first."""
