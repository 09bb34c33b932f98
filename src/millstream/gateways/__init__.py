"""Gateways: what a server speaks, translated for the pipeline."""
