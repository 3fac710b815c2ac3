"""Dinemic on the network: links between nodes, the sync protocol over them, and discovery.

`link.py` and `replica.py` are the two edges: what a kind of network must offer and what a node
must offer. Between them everything is a state machine; trio and sockets live in `channel.py`,
`discovery.py` and `runner.py` only.
"""
