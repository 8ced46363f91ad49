"""The rendezvous pipeline: gateway, features, runners, canary, decoy, rendezvous, bandit, control; a folder each."""
