# SPDX-License-Identifier: Apache-2.0
# A thin front for meson.  `make demo` and `make test` need nothing but a Debian 12: they install what is missing.
BUILD ?= build
PYTHON ?= $(if $(wildcard /usr/bin/python3),/usr/bin/python3,python3)
SHELL = /bin/sh

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@scripts/setup build
	@meson setup $(BUILD) $(MESON_OPTIONS)

# Runs the example service under seep, sends it traffic, ends with the report that names the leaking line.
demo:
	@scripts/setup build
	@scripts/demo $(BUILD)

# Everything .ci/run holds: gcc, clang, sanitizers, fuzzers; ends with the count.  `make check` is the quick part.
test:
	@scripts/setup test
	@$(PYTHON) scripts/test

check:
	@scripts/setup test
	@$(PYTHON) scripts/test gcc

asan:
	@scripts/setup test
	@$(PYTHON) scripts/test asan

tsan:
	@scripts/setup test
	@$(PYTHON) scripts/test tsan

fuzz:
	@scripts/setup test
	@$(PYTHON) scripts/test fuzz --fuzz-seconds $(or $(SECONDS),60)

# The long versions: 200 kills at random instants, 1,000 sampler seeds, a million blocks.
soak:
	@scripts/setup test
	@$(PYTHON) scripts/test soak

# Times seep and every peer that is installed; see docs/BENCH.md.  BENCH='--only churn --repeat 3' narrows it.
bench: all
	@$(PYTHON) bench/run.py --build $(BUILD) $(BENCH)

lint:
	@scripts/lint

format:
	@scripts/lint --fix

tidy: $(BUILD)/build.ninja
	@scripts/lint --tidy $(BUILD)

# DESTDIR is honoured; the prefix is meson's: make MESON_OPTIONS=--prefix=/usr
install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-gcc build-clang build-asan build-tsan

.PHONY: all demo test check asan tsan fuzz soak bench lint format tidy install clean
