"""Hosts: one file each, how a deploy is asked for."""
