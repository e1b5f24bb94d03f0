# `make` prints the help.

SHELL := bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

##@ Settings

VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)## version of the operator
IMAGE         ?= manager## image that `docker-build` builds: manager (the operator) or storage-initializer
IMG           ?=## image name for `docker-build` and `deploy`, with a tag, such as registry.example.org/serinus:v0.1.0
CONTAINER_TOOL ?= docker## docker or podman
PLATFORMS     ?=## platforms of the image, such as linux/amd64,linux/arm64 (default: this machine's)
PUSH          ?=## PUSH=1 pushes the image to its registry; required for several platforms
LEVEL         ?= simulated## cluster that `cluster-up` starts: control-plane, simulated (pods), pods (real ones, needs root), node (with DNS and metrics) or knative (with Knative Serving)
CONFIG        ?= hack/run-config.yaml## configuration file for `run`
FUZZ_DECISIONS ?= 1000000## number of single decisions that `fuzz` tests
FUZZ_HISTORIES ?= 20000## number of rollout histories that `fuzz` runs
REPETITIONS   ?= 5000## number of rollouts that `statistics` simulates for each case
INTEGRATION_PROCS ?= 3## number of parallel processes of `test-integration`
BENCH_ARGS    ?=## flags for the benchmarks
SCENARIOS     ?= all## scenarios that `e2e` runs under traffic: all, or ci (a subset that covers every rule in each mode)
E2E_ARGS      ?=## flags for `e2e`: -ginkgo.focus=… selects scenarios, -update writes docs/traffic.md
PROMETHEUS    ?=## Prometheus program for the tests (default: download Debian's package)
KUBEBUILDER_ASSETS ?=## folder with etcd, kube-apiserver and kubectl (default: build them)

# ------------------------------------------------------------------ internals

BIN   := $(CURDIR)/bin
TOOLS := $(BIN)/tools

build_tools := go run ./hack/build-tools
timed       := hack/timed
ginkgo      := go run github.com/onsi/ginkgo/v2/ginkgo
lint_tool   := $(TOOLS)/golangci-lint

# The integration tests' control plane is built unless KUBEBUILDER_ASSETS is set. A recursive make
# inherits the exported value.
ifeq ($(filter-out $(TOOLS),$(KUBEBUILDER_ASSETS)),)
  assets       := $(TOOLS)
  assets_tools := etcd kube-apiserver kubectl
else
  assets       := $(KUBEBUILDER_ASSETS)
  assets_tools :=
endif
export KUBEBUILDER_ASSETS := $(strip $(assets))

# The tests run in other folders, where a relative path would be wrong.
override PROMETHEUS := $(abspath $(PROMETHEUS))
export PROMETHEUS

# The installed kubectl, or a built one.
KUBECTL := $(shell command -v kubectl 2>/dev/null)
ifeq ($(KUBECTL),)
  KUBECTL       := $(TOOLS)/kubectl
  kubectl_tools := kubectl
endif

export CGO_ENABLED := 0
# Exclude the unused gRPC transport of the Google Cloud Storage client, which is slow to compile.
go_flags := $(shell go env GOFLAGS 2>/dev/null)
export GOFLAGS := $(go_flags)$(if $(findstring -tags,$(go_flags)),, -tags=disable_grpc_modules)

scenarios := $(if $(filter-out all,$(SCENARIOS)),-ginkgo.label-filter=$(SCENARIOS))

# Packages with fast tests that need no server.
unit_packages = $(shell go list ./... | grep -Ev '/test/(crd|integration|bench|storage|prometheus)(/|$$)|/test/e2e(/node)?$$')

.PHONY: requirements
requirements:
	@hack/check-go

.PHONY: git
git:
	@command -v git >/dev/null || { echo "git is missing: install it, for example with 'apt-get install git'." >&2; exit 1; }

##@ Start here

.PHONY: help
help: ## print this help
	@awk -f hack/help.awk $(MAKEFILE_LIST)

.PHONY: demo
demo: requirements ## demonstrate a canary release in a new cluster
	@$(build_tools) cluster
	@$(BIN)/cluster demo

.PHONY: cluster-up
cluster-up: requirements ## start the demo's cluster and operator, and keep them running
	@$(build_tools) cluster
	@$(BIN)/cluster up --level='$(LEVEL)' --operator --detach

.PHONY: cluster-down
cluster-down: requirements ## stop that cluster
	@$(build_tools) cluster
	@$(BIN)/cluster down

##@ Test

# The integration tests and the benchmark wait for most of their time, so the former run beside the others.
.PHONY: test
test: requirements ## run all tests except the end-to-end tests
	@rm -f $(BIN)/times
	@$(MAKE) test-unit test-chart && $(MAKE) -k -j2 test-integration test-crd test-storage test-prometheus test-bench; \
		status=$$?; hack/times $(BIN)/times; exit $$status

.PHONY: test-unit
test-unit: requirements ## run the unit and property tests
	@$(timed) "unit and property tests" go test -shuffle=on $(unit_packages)
	@go test ./test/e2e -run='^TestScenariosForCI$$'

.PHONY: test-chart
test-chart: requirements ## test the Helm chart against the kustomize build
	@cd charts && ../$(timed) "chart tests" go test ./...

.PHONY: test-crd
test-crd: requirements assets ## test the validation of the CRDs on a real API server
	@$(timed) "CRD tests" go test -shuffle=on ./test/crd/...

.PHONY: test-integration
test-integration: requirements assets ## test the operator on a real API server
	@$(timed) "integration tests" sh -c 'go test ./test/integration/wire && $(ginkgo) --no-color --procs=$(INTEGRATION_PROCS) --timeout=40m ./test/integration'

.PHONY: test-storage
test-storage: requirements ## test the storage initializer against real object stores
	@$(build_tools) fake-gcs-server versitygw
	@$(timed) "storage tests" go test -timeout=10m ./test/storage/...

.PHONY: test-prometheus
test-prometheus: requirements ## test the analysis of metrics with a real Prometheus
	@hack/get-prometheus
	@$(timed) "tests with Prometheus" go test -timeout=10m ./test/prometheus/...

.PHONY: test-bench
test-bench: requirements assets ## test the benchmark with a few InferenceServices
	@$(build_tools) -own-version=$(VERSION) manager
	@$(timed) "tests of the benchmark" go test -timeout=20m ./test/bench/...

.PHONY: e2e
e2e: requirements ## run canary releases with real pods under traffic, on a dedicated node (needs root)
	@rm -f $(BIN)/times
	@$(MAKE) e2e-tools e2e-contract e2e-scenarios e2e-node e2e-images; status=$$?; hack/times $(BIN)/times; exit $$status

.PHONY: e2e-tools e2e-contract e2e-scenarios e2e-node e2e-images
e2e-tools:
	@$(timed) "tools and images" sh -c '$(build_tools) -own-version=$(VERSION) cluster fake-gcs-server versitygw && $(BIN)/cluster prepare --level=knative --operator && go run ./test/images'

# The subtests mostly wait for Knative, so many can run in parallel.
e2e-contract:
	@$(timed) "contract on Knative" go test -count=1 -parallel=8 -timeout=20m ./test/e2e -run='^TestContractOnKnative$$'

e2e-scenarios:
	@$(timed) "scenarios under traffic" go test -v -count=1 -timeout=60m ./test/e2e -run='^TestScenarios$$' $(scenarios) $(E2E_ARGS)

e2e-node:
	@$(timed) "tests of the real node" go test -count=1 -timeout=20m ./test/e2e/node

e2e-images:
	@SERINUS_IMAGES='$(BIN)/images' $(timed) "tests of the model server" go test -count=1 -timeout=10m ./test/images

.PHONY: fuzz
fuzz: requirements ## search for decisions that break a rule
	@$(timed) "fuzzing decisions" go test ./internal/rollout -run='^$$' -fuzz='^FuzzDecide$$' -fuzzminimizetime=100x -fuzztime=$(FUZZ_DECISIONS)x
	@$(timed) "fuzzing histories" go test ./internal/rollout -run='^$$' -fuzz='^FuzzRollout$$' -fuzzminimizetime=100x -fuzztime=$(FUZZ_HISTORIES)x

.PHONY: statistics
statistics: requirements ## simulate automated rollouts, and write docs/statistics.md
	@$(timed) "statistics" go test -count=1 -timeout=2h ./internal/analysis -run='^TestStatistics$$' -repetitions=$(REPETITIONS) -update

.PHONY: bench
bench: requirements assets ## measure the operator on a real API server
	@go run ./test/bench $(BENCH_ARGS)

##@ Develop

.PHONY: generate
generate: requirements ## generate Go code from the API types
	@hack/codegen/generate

.PHONY: manifests
manifests: requirements ## generate CRDs and roles, and copy them to the chart
	@hack/codegen/manifests
	@charts/serinus/sync.sh

.PHONY: docs
docs: requirements ## generate the API reference
	@hack/codegen/docs

.PHONY: fmt
fmt: requirements $(lint_tool) ## format the Go code
	@$(lint_tool) fmt ./...

.PHONY: lint
lint: requirements $(lint_tool) ## run the linters
	@$(timed) "lint" $(lint_tool) run ./...
	@cd charts && ../$(timed) "lint of the chart tests" $(lint_tool) run ./...

.PHONY: lint-fix
lint-fix: requirements $(lint_tool) ## run the linters and apply their fixes
	@$(lint_tool) run --fix ./...
	@cd charts && $(lint_tool) run --fix ./...

.PHONY: verify
verify: verify-generated lint ## check generated files and run the linters

.PHONY: verify-generated
verify-generated: requirements git ## check that generated files are up to date
	@hack/verify $(MAKE) generate manifests docs fmt

.PHONY: tools
tools: requirements ## build all tools, which are otherwise built on demand
	@$(build_tools)

.PHONY: clean
clean: ## remove all build results
	@[ ! -x $(BIN)/cluster ] || $(BIN)/cluster down >/dev/null
	rm -rf $(BIN) dist

##@ Build

.PHONY: build
build: requirements ## build the operator: bin/manager
	@$(build_tools) -own-version=$(VERSION) manager

.PHONY: docker-build
docker-build: ## build the image IMAGE, named IMG, for PLATFORMS
	@IMAGE='$(IMAGE)' CONTAINER_TOOL='$(CONTAINER_TOOL)' IMG='$(IMG)' PLATFORMS='$(PLATFORMS)' PUSH='$(PUSH)' VERSION='$(VERSION)' hack/build-image

##@ Deploy to the cluster of the current kubeconfig

.PHONY: run
run: requirements kubectl ## run the operator on this machine with your own permissions; requires `install`, and that none is deployed
	@hack/check-not-deployed '$(KUBECTL)'
	go run -ldflags "-X main.version=$(VERSION)" ./cmd/manager --config=$(CONFIG)

.PHONY: install
install: requirements kubectl kustomize ## install the CRDs and the serving runtimes
	@$(call apply,config/crd)
	@$(call established)
	@$(call apply,config/runtimes)

.PHONY: uninstall
uninstall: requirements kubectl kustomize ## remove the CRDs, with all InferenceServices and runtimes
	@$(call delete,config/crd)

.PHONY: deploy
deploy: requirements kubectl kustomize ## install the operator, the CRDs and the serving runtimes, with the image IMG
	@hack/use-image '$(IMG)'
	@$(call apply,$(BIN)/deploy)
	@$(call established)
	@$(call apply,config/runtimes)
	@echo "Installed. To watch the rollout: kubectl rollout status -n serinus-system deployment/serinus-controller-manager"

.PHONY: undeploy
undeploy: requirements kubectl kustomize ## remove everything that `deploy` installs, with all InferenceServices
	@$(call delete,config/default)

# ------------------------------------------------------------------ internals

apply       = $(TOOLS)/kustomize build $1 | $(KUBECTL) apply --server-side -f -
delete      = $(TOOLS)/kustomize build $1 | $(KUBECTL) delete --ignore-not-found -f -
established = $(KUBECTL) wait --for=condition=Established --timeout=60s -f <($(TOOLS)/kustomize build config/crd)

.PHONY: assets
assets:
	@$(if $(assets_tools),$(build_tools) $(assets_tools),:)

.PHONY: kubectl
kubectl:
	@$(if $(kubectl_tools),$(build_tools) $(kubectl_tools),:)

.PHONY: kustomize
kustomize:
	@$(build_tools) kustomize

.PHONY: $(lint_tool)
$(lint_tool):
	@$(build_tools) golangci-lint
