# The few things that people do with Penstock; CMakePresets.json knows how each build is made.
.DEFAULT_GOAL := help
SHELL := /bin/sh
JOBS ?= $(shell nproc)

.PHONY: help
help: ## what there is to do
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: release ## build and run all three on loopback, with a sample origin (ONCE=1: one request, then end)
	@scripts/deps.sh run
	@python3 scripts/run.py $(if $(ONCE),--once)

.PHONY: test
test: ## install what tests need, build with sanitizers, run all tests but heavy and extra
	@scripts/deps.sh build test
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev -j $(JOBS)
	@ctest --preset dev -j $(JOBS) -LE "extra|heavy" $(CTEST_ARGS)

.PHONY: heavy
heavy: ## tests that take minutes: millions of datagrams, thousands of sessions, other people's programs
	@scripts/deps.sh build test heavy
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev -j $(JOBS)
	@ctest --preset dev -L heavy --verbose --no-tests=error $(CTEST_ARGS)

.PHONY: extra
extra: deb ## the tests beside programs and packages of others; what cannot be had is not run, and says so
	@scripts/deps.sh build test extra
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev -j $(JOBS)
	@ctest --preset dev -L extra --verbose --no-tests=error $(CTEST_ARGS)

.PHONY: check
check: test ## test, and what reads the tree: format (a failure), files over 600 lines (a warning)
	@scripts/deps.sh format
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
	@scripts/size.py --warn

.PHONY: release
release: ## build/release/bin/penstock-{hub,edge,traffic}
	@scripts/deps.sh build
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)

.PHONY: deb
deb: release ## build/release/deb/penstock-{hub,edge,traffic}_*.deb
	@scripts/deps.sh deb
	@rm -rf build/release/deb
	@cd build/release && cpack -G DEB >/dev/null && rm -rf deb/_CPack_Packages && ls deb/*.deb

.PHONY: cross-arm64
cross-arm64: ## build/cross-arm64/bin, by Debian's cross compiler (adds arm64 to dpkg: best in a container)
	@scripts/deps.sh cross-arm64
	@cmake --preset cross-arm64 >/dev/null
	@cmake --build --preset cross-arm64 -j $(JOBS)

.PHONY: tsan
tsan: ## the tests under ThreadSanitizer
	@scripts/deps.sh build test
	@cmake --preset tsan >/dev/null
	@cmake --build --preset tsan -j $(JOBS)
	@ctest --preset tsan -j $(JOBS) $(if $(CTEST_ARGS),$(CTEST_ARGS),-LE "extra|heavy|fuzz")

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZ_SECS (60) seconds, with libFuzzer
	@scripts/deps.sh build fuzz
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz -j $(JOBS)
	@scripts/fuzz.sh build/fuzz/bin $${FUZZ_SECS:-60}

.PHONY: bench
bench: release ## beside HAProxy and nginx, in one run (ROWS=a,b picks rows; DOC= takes the table; QUICK=1: does it run)
	@scripts/deps.sh bench
	@PENSTOCK_BUILD=build/release python3 tests/bench/bench.py $(if $(ROWS),--rows $(ROWS)) $(if $(DOC),--doc $(DOC)) $(if $(QUICK),--rounds 1 --secs 1)

.PHONY: profile
profile: release ## flame graphs of the tunnel and of traffic under load, in build/bench/profile
	@scripts/deps.sh bench profile
	@PENSTOCK_BUILD=build/release python3 tests/bench/profile.py

.PHONY: callgrind
callgrind: release ## instructions of one request and of one megabyte
	@scripts/deps.sh bench profile
	@PENSTOCK_BUILD=build/release python3 tests/bench/callgrind.py

.PHONY: swaps
swaps: release ## 100 swaps of 5,000 routes in a minute, under load: nobody notices (ARGS=--limits, --chains)
	@scripts/deps.sh run
	@PENSTOCK_BUILD=build/release python3 tests/bench/swaps.py $(ARGS)

.PHONY: cov
cov: ## line coverage of the tests
	@scripts/deps.sh build test
	@cmake --preset cov >/dev/null
	@cmake --build --preset cov -j $(JOBS)
	@ctest --preset cov -j $(JOBS) -LE "extra|heavy|fuzz" $(CTEST_ARGS)
	@scripts/coverage.py build/cov

.PHONY: format
format: ## put every file into the house style
	@scripts/deps.sh format
	@git ls-files '*.c' '*.h' | xargs clang-format -i

.PHONY: size
size: ## the longest files, functions and headers: what are the two things in here?
	@scripts/size.py

.PHONY: docs
docs: release ## docs/limits.md, metrics.md, reasons.md, api.md and the chart's README, from what they are made of
	@scripts/deps.sh test
	@scripts/limits.py build/release/bin > docs/limits.md
	@PENSTOCK_BUILD=build/release python3 -B tests/e2e/test_metrics_golden.py --golden Metrics >/dev/null
	@scripts/metrics_docs.py
	@scripts/reason_docs.py
	@scripts/api_docs.py
	@scripts/chart_docs.py

.PHONY: pictures
pictures: ## docs/images/dashboard-*.png from a running hub in Chromium
	@scripts/deps.sh build test extra
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev -j $(JOBS) --target penstock-hub penstock-edge
	@mkdir -p docs/images
	@PENSTOCK_PICTURES=1 PENSTOCK_BUILD=build/dev /usr/bin/python3 -B tests/dashboard/test_pictures.py

.PHONY: clean
clean: ## throw every build away
	@rm -rf build
