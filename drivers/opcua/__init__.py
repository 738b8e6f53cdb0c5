"""OPC UA: subscription and polling through asyncua; session.py is the only module that talks to a server."""
