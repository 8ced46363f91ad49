"""The rules for Prometheus ask for metrics that there are."""

import re

import yaml


def test_every_metric_of_the_rules_is_in_the_guide(root):
    (group,) = yaml.safe_load((root / "docs/deploy/birdwatch.rules.yml").read_text())["groups"]
    asked = {name for rule in group["rules"] for name in re.findall(r"birdwatch_[a-z_]+", rule["expr"])}
    assert asked
    assert asked <= set(re.findall(r"`(birdwatch_[a-z_]+)`", (root / "docs/guide/budget.md").read_text()))


def test_every_process_of_the_containers_is_scraped_but_the_dashboard_which_only_reads(root):
    services = yaml.safe_load((root / "compose.yaml").read_text())["services"]
    parts = {
        f"{name}:8080"
        for name, service in services.items()
        if service["image"].startswith("localhost/birdwatch:") and name != "dashboard"
    }
    (job,) = yaml.safe_load((root / "docs/deploy/prometheus.yml").read_text())["scrape_configs"]
    assert {target for config in job["static_configs"] for target in config["targets"]} == parts
