# Samsa's commands. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

MODULES := gen pkg $(wildcard services/*) tests
SERVICES := account bucket stream-writer stream-reader compactor router samsa
TOOLS := bin/buf bin/protoc-gen-go bin/protoc-gen-go-grpc bin/protoc-gen-grpc-gateway bin/protoc-gen-openapiv2
GO_FILES = $(shell git ls-files '*.go')

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-18s %s\n", $$1, $$2}'

.PHONY: run
run: build ## run the whole system in one process, data in .samsa
	@bin/samsa dev

.PHONY: build
build: need-go ## build every program into bin/
	@mkdir -p bin
	@go build -ldflags "-s -w" -o bin/ $(SERVICES:%=./services/%)

.PHONY: need-go
need-go:
	@command -v go >/dev/null || { echo "Samsa is built with Go 1.26 or newer, which is not in PATH: get it from https://go.dev/dl"; exit 1; }

# ---- tests -----------------------------------------------------------------

.PHONY: test
test: need-go bin/versitygw ## run all tests with the race detector
	@$(MAKE) test-unit test-system

.PHONY: test-unit
test-unit: bin/versitygw ## the packages' own tests, with the race detector
	@for m in $(filter-out gen tests,$(MODULES)); do go test -race -timeout 10m ./$$m/...; done

.PHONY: test-system
test-system: bin/versitygw ## the whole system: in one process and split, with the race detector
	@go test -race -timeout 14m ./tests/...

.PHONY: test-basic
test-basic: bin/versitygw ## the API's rules, against samsa dev
	@go test -count=1 -timeout 10m ./tests/contract/...

.PHONY: test-errors
test-errors: bin/versitygw ## bad input, refusals, crashes and outages
	@go test -count=1 -timeout 10m -run 'TestDev/.*(Refuse|Reject|Malformed|Missing|Invalid|Bad|Unknown|TooMany|Oversized|Empty|Cancel|Error|Conditions)' ./tests/contract
	@go test -count=1 -timeout 10m -run 'Kill|Stop|Refuse|Split' ./tests/e2e
	@go test -count=1 -timeout 10m ./pkg/objstore/faulty ./pkg/shardlog

.PHONY: test-performance
test-performance: bench ## the benchmarks: figures, never a failure on a slow machine

.PHONY: test-dev
test-dev: bin/versitygw ## a faster round while developing: no race detector, short suites
	@for m in $(filter-out gen,$(MODULES)); do go test -short -timeout 10m ./$$m/...; done

.PHONY: fuzz
fuzz: ## fuzz every decoder for TIME (10s) each
	@for p in $$(grep -lrE '^func Fuzz' --include=*_test.go pkg services | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$p/*_test.go | sed 's/func //'); do \
	    go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${TIME:-10s} ./$$p; done; done

.PHONY: bench
bench: ## run the benchmarks
	@for m in pkg services/stream-writer services/stream-reader; do go test -run '^$$' -bench . -benchmem ./$$m/...; done

# ---- code ------------------------------------------------------------------

.PHONY: fmt
fmt: ## format the code
	@gofmt -w $(GO_FILES)
	@[ ! -x bin/buf ] || bin/buf format -w

.PHONY: gen
gen: $(TOOLS) ## generate code from the protos
	@bin/buf generate

.PHONY: lint
lint: $(TOOLS) bin/golangci-lint ## check code, protos, generated files and modules
	@bin/buf lint
	@bin/buf format --diff --exit-code
	@if git rev-parse -q --verify HEAD^ >/dev/null; then bin/buf breaking --against '.git#ref=HEAD^'; fi
	@before=$$(git status --porcelain gen; git diff gen | sha1sum); bin/buf generate; \
	  [ "$$before" = "$$(git status --porcelain gen; git diff gen | sha1sum)" ] || { echo "gen/ is stale: run make gen and commit"; exit 1; }
	@unformatted=$$(gofmt -l $(GO_FILES)); [ -z "$$unformatted" ] || { echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; }
	@for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy -diff >/dev/null) || { echo "$$m/go.mod is not tidy: run make tidy"; exit 1; }; done
	@for m in $(filter-out gen,$(MODULES)); do (cd $$m && $(CURDIR)/bin/golangci-lint run ./...); done

.PHONY: tidy
tidy: ## tidy every module
	@for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy); done
	@go work sync

.PHONY: clean
clean: ## remove what was built; data in .samsa stays
	@rm -rf bin

# ---- tools -----------------------------------------------------------------

$(TOOLS): .ci/tools/proto/go.mod
	@mkdir -p bin
	@cd .ci/tools/proto && GOWORK=off go build -o $(CURDIR)/bin/ tool
	@touch $(TOOLS)

bin/versitygw: .ci/tools/s3/go.mod | need-go
	@mkdir -p bin
	@cd .ci/tools/s3 && GOWORK=off go build -o $(CURDIR)/bin/ tool
	@touch $@

bin/golangci-lint: .ci/tools/lint/go.mod
	@mkdir -p bin
	@cd .ci/tools/lint && GOWORK=off go build -o $(CURDIR)/bin/ tool
	@touch $@
