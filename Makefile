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

.PHONY: up
up: .env ## the split system in containers, with dashboards: docker compose up
	@docker compose up -d --build --wait
	@echo "REST and gRPC on localhost:8080, Grafana on :3000, Jaeger on :16686, Prometheus on :9091"

.PHONY: down
down: ## stop it; its volumes stay
	@docker compose down

# Each placeholder of .env.example ("trial") becomes 32 random bytes.
.env:
	@umask 077; while IFS= read -r line; do \
	  [[ $$line != [A-Z]*=*trial* ]] || line="$${line%%=*}=$$(od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n')"; \
	  printf '%s\n' "$$line"; done <.env.example >.env.new
	@mv .env.new .env
	@echo "made .env, with secrets of its own: keep it, the volumes are made with them"

.PHONY: build
build: need-go ## build every program into bin/
	@mkdir -p bin
	@go build -ldflags "-s -w" -o bin/ $(SERVICES:%=./services/%)

.PHONY: need-go
need-go:
	@command -v go >/dev/null || { echo "Samsa is built with Go 1.26 or newer, which is not in PATH: get it from https://go.dev/dl"; exit 1; }

# ---- tests -----------------------------------------------------------------
# Slow suites have go test leave out its vetting, which make lint does.

.PHONY: test
test: need-go bin/versitygw ## run the tests with the race detector
	@$(MAKE) test-unit test-system test-sim SEEDS=$${SEEDS:-2000}

.PHONY: test-unit
test-unit: bin/versitygw ## the packages' own tests, with the race detector
	@go test -race -vet=off -timeout 12m $(patsubst %,./%/...,$(filter-out gen tests,$(MODULES)))

# What several test binaries start: linking it with the race detector takes long.
RACE_PROGRAMS := SAMSA_TEST_PROGRAMS=$(CURDIR)/bin/race

.PHONY: race-programs
race-programs: need-go bin/versitygw
	@mkdir -p bin/race
	@go build -race -ldflags '-s -w' -o bin/race/ $(SERVICES:%=./services/%)

LIFECYCLE := TestDevCompacts|TestRestore|TestDamage|TestDraining|TestRolling

.PHONY: test-system
test-system: race-programs ## the whole system: in one process and split, with the race detector
	@$(RACE_PROGRAMS) go test -race -vet=off -count=1 -timeout 14m -skip '^($(LIFECYCLE)|TestSecured)$$' ./tests/contract ./tests/e2e ./tests/history ./tests/deploy

.PHONY: test-lifecycle
test-lifecycle: race-programs ## compaction, restored and damaged data, drains and rolls, with the race detector
	@$(RACE_PROGRAMS) go test -race -vet=off -count=1 -timeout 30m -run '^($(LIFECYCLE))$$' ./tests/e2e

.PHONY: test-access
test-access: race-programs ## tokens, mutual TLS, spans and metrics of the split system, with the race detector
	@$(RACE_PROGRAMS) go test -race -vet=off -count=1 -timeout 20m -p 1 ./tests/access ./tests/observe
	@$(RACE_PROGRAMS) go test -race -vet=off -count=1 -timeout 10m -run '^TestSecured$$' ./tests/contract

.PHONY: test-sim
test-sim: need-go ## simulate the whole system with faults for SEEDS (20000), from FIRST (0) on; SEED replays one and tells what happens
	@SIM_SEED=$${SEED:-} SIM_SEEDS=$${SEEDS:-20000} SIM_FIRST=$${FIRST:-0} \
	  go test -count=1 -timeout 0 -run 'TestSimulation$$' -v ./tests/sim

.PHONY: test-mutants
test-mutants: need-go ## break each invariant on purpose; the simulation has to notice
	@SIM_MUTANTS=1 go test -count=1 -timeout 0 -run TestMutants -v ./tests/sim

.PHONY: test-basic
test-basic: bin/versitygw ## the API's rules, against samsa dev
	@go test -count=1 -timeout 10m ./tests/contract/...

.PHONY: test-errors
test-errors: bin/versitygw ## bad input, refusals, crashes and outages
	@go test -count=1 -timeout 10m -run 'TestDev/.*(Refuse|Reject|Malformed|Missing|Invalid|Bad|Unknown|TooMany|Oversized|Empty|Cancel|Error|Conditions)' ./tests/contract
	@go test -count=1 -timeout 10m -run 'Kill|Stop|Refuse|Split' ./tests/e2e
	@go test -count=1 -timeout 10m ./pkg/objstore/faulty ./pkg/shardlog

.PHONY: test-fault
test-fault: bin/versitygw ## histories under a nemesis, checked for linearizability, for MINUTES (5); SEED decides on what
	@MINUTES=$${MINUTES:-5} go test -count=1 -timeout 0 -v -run TestFaults ./tests/fault

.PHONY: test-failover
test-failover: bin/versitygw ## kill the owner of a stream under load KILLS (50) times; prints how long appends stop
	@KILLS=$${KILLS:-50} go test -count=1 -timeout 0 -v -run TestFailover ./tests/e2e

.PHONY: test-load
test-load: bin/versitygw ## the suites of load, short: overload, stalled readers, soak, figures
	@go test -count=1 -timeout 20m -p 1 ./tests/overload ./tests/soak ./tests/figures

.PHONY: test-degradation
test-degradation: bin/versitygw ## Postgres, NATS, etcd and the object store away for OUTAGE (70s) each
	@OUTAGE=$${OUTAGE:-70s} go test -count=1 -timeout 60m -v -run TestDegradation ./tests/fault

.PHONY: test-crash
test-crash: bin/versitygw ## kill a program at every failpoint
	@SAMSA_TEST_ALL=1 go test -count=1 -timeout 60m -v ./tests/crash

.PHONY: soak
soak: bin/versitygw ## use a split system for MINUTES (60), then a table and a plot (PLOT) of memory, goroutines, objects, rows
	@MINUTES=$${MINUTES:-60} PLOT=$${PLOT:-$(CURDIR)/soak.png} go test -count=1 -timeout 0 -v -run TestSoak ./tests/soak

.PHONY: test-compose
test-compose: need-go ## compose.yaml, scaled and broken, with Docker (starts one if root)
	@deploy/test-compose.sh

.PHONY: test-performance
test-performance: bench ## benchmarks, then samsa bench on a samsa dev: figures, never a failure on a slow machine
	@FIGURES=1 go test -count=1 -timeout 30m -v ./tests/figures

.PHONY: test-dev
test-dev: bin/versitygw ## a faster round while developing: no race detector, short suites
	@go test -short -timeout 10m $(patsubst %,./%/...,$(filter-out gen,$(MODULES)))

.PHONY: fuzz
fuzz: ## fuzz every decoder and public handler of IN (pkg services) for TIME (10s; 100x: so many inputs) each
	@for p in $$(grep -lrE '^func Fuzz' --include=*_test.go $${IN:-pkg services} | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$p/*_test.go | sed 's/func //'); do \
	    go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${TIME:-10s} -fuzzminimizetime 10x ./$$p; done; done

.PHONY: bench
bench: ## run the benchmarks
	@for m in pkg services/stream-writer services/stream-reader; do go test -run '^$$' -bench . -benchmem ./$$m/...; done

.PHONY: bench-overload
bench-overload: bin/versitygw ## offer five times what the store takes; 1,000 stalled readers: goodput, latency and memory
	@OVERLOAD=1 go test -count=1 -timeout 20m -v ./tests/overload

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

.PHONY: vuln
vuln: bin/govulncheck ## look for known vulnerabilities in what is used, where their database can be reached
	@if ! curl -fsS --max-time 10 -o /dev/null https://vuln.go.dev/index/db.json; then \
	  echo "The vulnerability database (https://vuln.go.dev) can't be reached from here: nothing was checked."; exit 0; fi; \
	for m in $(filter-out gen,$(MODULES)); do bin/govulncheck -C $$m ./...; done

.PHONY: tidy
tidy: ## tidy every module
	@go work sync
	@for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy); done

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

bin/govulncheck: .ci/tools/vuln/go.mod
	@mkdir -p bin
	@cd .ci/tools/vuln && GOWORK=off go build -o $(CURDIR)/bin/ tool
	@touch $@

bin/golangci-lint: .ci/tools/lint/go.mod
	@mkdir -p bin
	@cd .ci/tools/lint && GOWORK=off go build -o $(CURDIR)/bin/ tool
	@touch $@
