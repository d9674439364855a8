"""Speaks: sockets and HTTP towards agents and those who watch them."""
