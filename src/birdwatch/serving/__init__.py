"""The rendezvous pipeline: gateway, features, runners, canary, decoy, rendezvous, control."""
