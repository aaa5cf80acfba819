"""Reads an exposition with the official client; answers families, types and samples as JSON."""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

parse = {
    "openmetrics": openmetrics_parser.text_string_to_metric_families,
    "text": parser.text_string_to_metric_families,
}[sys.argv[1]]

families = {}
for family in parse(sys.stdin.read()):
    if family.name in families:
        sys.exit(f"the family {family.name} comes twice")
    samples = {}
    for sample in family.samples:
        key = sample.name + json.dumps(sample.labels, sort_keys=True)
        if key in samples:
            sys.exit(f"the sample {key} comes twice")
        samples[key] = repr(float(sample.value))
    families[family.name] = {"type": family.type, "samples": samples}
json.dump(families, sys.stdout)
