"""Bananas measured against its peers: same server, same jobs, same run. See README.md here."""
