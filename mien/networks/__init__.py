"""The networks: backbones, masks and decoder as torch modules, and the registry of all networks.

Their trained weights are read and used by `mien.models`.
"""
