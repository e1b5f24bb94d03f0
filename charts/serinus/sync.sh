#!/bin/sh
# Copyright The Serinus Authors.
# SPDX-License-Identifier: Apache-2.0

# Brings the chart's copies of generated and documented files up to date. The
# tests of charts/ fail when this has been forgotten.
set -eu
cd "$(dirname "$0")"
config=../../config

rm -rf files
mkdir -p files/crds files/admission
cp "$config"/crd/bases/*.yaml files/crds/
cp "$config"/admission/*policy*.yaml files/admission/
cp "$config"/rbac/role.yaml "$config"/manager/config.yaml \
  "$config"/components/prometheus/metrics_reader.yaml "$config"/components/prometheus/prometheusrule.yaml files/
