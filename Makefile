# Packhorse: list, pack, train, evaluate, export, predict on all of ImageNet, on one machine.
#
# This file is the architecture, top to bottom: the shelves, the libraries, the stages, the tests. `make help` lists
# what can be asked of it.

.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.DELETE_ON_ERROR:

# ---- The MPI: openmpi, or mpich in a build folder of its own --------------------------------------------------------
MPI ?= openmpi
$(if $(filter openmpi mpich,$(MPI)),,$(error MPI=$(MPI) is not known: use openmpi or mpich))
MPIRUN := $(notdir $(or $(shell command -v mpirun.$(MPI)),mpirun))
comma  := ,
SANITIZE ?=
BUILD  := build$(if $(filter-out openmpi,$(MPI)),/$(MPI))$(if $(SANITIZE),/sanitize-$(subst $(comma),-,$(SANITIZE)))
export MPI CXX
export PACKHORSE_FOUND := $(BUILD)/found

# ---- A break ends with its cause, and not with "Error 2" ------------------------------------------------------------
# The first make only starts a second one. tests/why reads its messages, and the first make has the last word.
QUICK := help clean layers print-rooms
GOALS := $(or $(MAKECMDGOALS),all)
ifeq ($(WHY)$(if $(filter-out $(QUICK),$(GOALS)),,quick),)
export WHY := $(BUILD)/why.$(shell echo $$PPID)
.PHONY: $(GOALS) told
$(GOALS): told
	@$(if $(shell cat $(WHY) 2>/dev/null),$(error $(strip $(shell cat $(WHY); rm -f $(WHY))))):
told:
	@tests/why $(MAKE) $(MAKECMDGOALS)
else

# ---- Shelves: a room includes rooms of lower shelves only; `make layers` holds the code to this table ---------------
SHELVES := 0 1 2 3 4 5
ROOMS_0 := base
ROOMS_1 := manifest record image hdf5 ranks tensor metrics
ROOMS_2 := classes source device net demo
ROOMS_3 := list pack verify feed comm checkpoint ops results
ROOMS_4 := step infer report
ROOMS_5 := train
ROOMS   := $(foreach s,$(SHELVES),$(ROOMS_$(s)))

USES_base       :=
USES_manifest   := base
USES_record     := base
USES_image      := base
USES_hdf5       := base
USES_ranks      := base
USES_tensor     :=
USES_metrics    := base
USES_classes    := metrics manifest base
USES_source     := image manifest record base
USES_device     := base
USES_net        := tensor base
USES_demo       := image base
USES_list       := source classes manifest base
USES_pack       := source classes record image manifest ranks base
USES_verify     := classes hdf5 metrics record image manifest ranks base
USES_feed       := device record image manifest base
USES_comm       := device ranks base
USES_checkpoint := net hdf5 base
USES_ops        := net device tensor base
USES_results    := classes hdf5 metrics base
USES_step       := comm ops feed base
USES_infer      := results checkpoint ops feed source classes net record image manifest ranks metrics base
USES_report     := results classes hdf5 metrics image manifest base
USES_train      := step checkpoint ops comm feed classes net metrics record image manifest ranks base

# ---- Libraries, by their names in tests/needs, which says what they are and how they are found ----------------------
# A vendor's headers have one home each, and a stage links only what its rooms need. Headers of `base` include those of
# {fmt}, JSON and TBB, so everything is compiled with them.
EVERYONE_NEEDS := fmt json tbb
# toml++ is not in every release: without it no settings file is read.
NEEDS_base      = fmt json cli11 $(patsubst $(BUILD)/found/%.mk,%,$(wildcard $(BUILD)/found/toml.mk))
NEEDS_image    := jpeg png webp
NEEDS_hdf5     := hdf5
NEEDS_ranks    := mpi
NEEDS_source   := archive tbb
NEEDS_demo     := archive zlib
NEEDS_pack     := tbb png webp
NEEDS_verify   := tbb
NEEDS_feed     := tbb
NEEDS_ops      := dnnl
NEEDS_pipeline := zlib
NEEDS_infer    := png webp
FLAGS_image    := -O3
FLAGS_ops      := -fopenmp

# tests/found writes a file for each library: FOUND_NAME_CFLAGS, FOUND_NAME_LIBS. What is compiled with a library is
# compiled again when its file changes: when it is found somewhere else, or in another version.
ifneq ($(filter stages unit-tests room-tests standins gpu-check-build lint $(BUILD)/%,$(GOALS)),)
$(shell CXX='$(CXX)' MPI='$(MPI)' PACKHORSE_FOUND='$(PACKHORSE_FOUND)' tests/found >&2)
$(if $(filter 0,$(GPU)),$(shell rm -f $(PACKHORSE_FOUND)/gpu.mk),$(shell PACKHORSE_FOUND='$(PACKHORSE_FOUND)' tests/found-gpu >&2))
include $(wildcard $(PACKHORSE_FOUND)/*.mk)
endif
$(BUILD)/found/%.mk:
	@echo "error: $* is not found: $$(sed -n 's/^$*|//p' $(BUILD)/found/missing) (make deps says more)" >&2 && exit 1
found_of  = $(patsubst %,$(BUILD)/found/%.mk,$(sort $(EVERYONE_NEEDS) $(NEEDS_$(1))))
cflags_of = $(foreach n,$(sort $(EVERYONE_NEEDS) $(NEEDS_$(1))),$(FOUND_$(n)_CFLAGS)) $(FLAGS_$(1))

# ---- Stages: one executable a verb, and the rooms each uses ---------------------------------------------------------
STAGES := list pack verify train evaluate export predict
STAGE_list     := list
STAGE_pack     := pack
STAGE_verify   := verify
STAGE_train    := train
STAGE_evaluate := infer
STAGE_export   := report
STAGE_predict  := infer report
TOOLS := demo-data
STAGE_demo-data := demo

# ---- How things are compiled ----------------------------------------------------------------------------------------
CXX      ?= g++
OPTIMISE ?= -O2
CXXFLAGS += -std=c++20 $(OPTIMISE) -g1 -Wall -Wextra -Wpedantic -Wshadow -Wno-psabi -Ilib $(COLOURS:%=-fdiagnostics-color=%)
# The product does not tell where it was built, and is the same wherever that was.
CXXFLAGS += '-ffile-prefix-map=$(CURDIR)=.'
# A report ends the program. What MPI keeps to the end is no leak of ours.
ifneq ($(SANITIZE),)
CXXFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=$(SANITIZE)
export ASAN_OPTIONS := detect_leaks=0:abort_on_error=1:allocator_may_return_null=0:$(ASAN_OPTIONS)
endif
JOBS     ?= $(shell nproc)

# closure of "uses": a room, then everything below it, each after what needs it
closure  = $(call unique,$(foreach r,$(1),$(r) $(call closure,$(USES_$(r)))))
unique   = $(if $(1),$(call unique,$(filter-out $(lastword $(1)),$(1))) $(lastword $(1)))
archives = $(foreach r,$(call closure,$(1)),$(BUILD)/lib/$(r).a)
# of rooms, and of needs besides
needs_of = $(sort $(foreach r,$(call closure,$(1)),$(NEEDS_$(r))) $(2))
libs_of  = $(foreach n,$(needs_of),$(FOUND_$(n)_LIBS)) $(if $(filter ops,$(call closure,$(1))),-fopenmp) -lpthread
# A link again, when a library is another one.
linked   = $(archives) $(patsubst %,$(BUILD)/found/%.mk,$(needs_of))
inputs   = $(filter %.o %.a,$^)

# Files of a folder cuda/ belong to the plug-in.
OBJECTS = $(patsubst %.cc,$(BUILD)/%.o,$(foreach f,$(wildcard $(1)),$(if $(findstring /cuda/,$(f)),,$(f))))
# What computes on a GPU uses the code of the executable that opens it: all of these rooms, and not a copy of its own.
PLUGIN_ROOMS := base device ops
PLUGIN := $(if $(GPU_NVCC),$(BUILD)/lib/packhorse/packhorse-cuda.so)
whole = $(if $(filter ops,$(call closure,$(1))),-rdynamic -Wl$(comma)--whole-archive $(PLUGIN_ROOMS:%=$(BUILD)/lib/%.a) -Wl$(comma)--no-whole-archive)

STAGE_BINARIES := $(STAGES:%=$(BUILD)/bin/packhorse-%)
TOOL_BINARIES  := $(TOOLS:%=$(BUILD)/bin/packhorse-%)

.PHONY: all test demo bench fuzz lint layers install uninstall run-packages gpu-check bundle help clean deps deps-gpu deps-demo deps-test deps-campaign deps-lint test-interop same-as campaign unit-tests print-rooms
all: deps
	@tests/found --show
	@$(MAKE) -Otarget -j$(JOBS) stages

.PHONY: stages
stages: $(STAGE_BINARIES) $(TOOL_BINARIES) $(PLUGIN)

room = $(word 2,$(subst /, ,$*))
.SECONDEXPANSION:
$(BUILD)/%.o: %.cc $$(call found_of,$$(room))
	@mkdir -p $(@D)
	@echo "  c++   $<"
	@$(CXX) $(CXXFLAGS) $(call cflags_of,$(room)) -MMD -MP -c $< -o $@

$(BUILD)/lint/lib/base/version.tidy $(BUILD)/lib/base/version.o: CXXFLAGS += -DPACKHORSE_VERSION='"$(shell cat VERSION)"'
$(BUILD)/lib/base/version.o: VERSION

# Executable and plug-in know each other by what their interface was compiled from.
PLUGIN_INTERFACE := $(wildcard VERSION $(foreach r,base tensor device ops,lib/$(r)/*.h))
BUILD_ID := $(shell cat $(PLUGIN_INTERFACE) /dev/null | sha256sum | cut -c 1-16)
$(BUILD)/lib/ops/plugin.o $(BUILD)/lib/ops/cuda/plugin.o $(BUILD)/lint/lib/ops/plugin.tidy $(BUILD)/lint/lib/ops/cuda/plugin.tidy: CXXFLAGS += -DPACKHORSE_BUILD_ID='"$(BUILD_ID)"'
$(BUILD)/lib/ops/plugin.o $(BUILD)/lib/ops/cuda/plugin.o: $(PLUGIN_INTERFACE)

# The inner loops are written for the vectoriser.
$(BUILD)/lib/ops/cpu/kernels.o: OPTIMISE := -O3

define room_rules
$(BUILD)/lib/$(1).a: $(call OBJECTS,lib/$(1)/*.cc lib/$(1)/*/*.cc)
	@echo "  room  $(1)"
	@rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rules,$(r))))

# ---- The GPU plug-in: everything in folders cuda/ -------------------------------------------------------------------
PLUGIN_SOURCES := $(wildcard lib/*/cuda/*.cc lib/*/cuda/*.cu)
PLUGIN_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(basename $(PLUGIN_SOURCES)))
# Machine code for A100 and for H100 and H200, and PTX for what comes after them.
GPU_CODE ?= -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
# For a profiler, NVCCFLAGS=-lineinfo tells the lines of a kernel. Not by default: it writes down where it was built.
NVCCFLAGS ?=
$(filter $(patsubst %.cc,$(BUILD)/%.o,$(filter %.cc,$(PLUGIN_SOURCES))),$(PLUGIN_OBJECTS)): CXXFLAGS += -fPIC $(GPU_CFLAGS)
$(PLUGIN_OBJECTS): $(wildcard $(BUILD)/found/gpu.mk)
$(BUILD)/%.o: %.cu
	@mkdir -p $(@D)
	@echo "  nvcc  $<"
	@$(GPU_NVCC) -std=c++20 -O3 $(NVCCFLAGS) -Ilib $(GPU_CODE) -Werror all-warnings -Xcompiler -fPIC,-Wall,-Wextra -MMD -MP -c $< -o $@
$(BUILD)/lib/packhorse/packhorse-cuda.so: $(PLUGIN_OBJECTS)
	@mkdir -p $(@D)
	@echo "  plug-in cuda"
	@$(CXX) -shared $(LDFLAGS) $(inputs) $(GPU_LIBS) $(FOUND_fmt_LIBS) -o $@

define stage_rules
$(BUILD)/bin/packhorse-$(1): $(BUILD)/stages/$(subst -,_,$(1)).o $(call linked,$(STAGE_$(1)))
	@mkdir -p $$(@D)
	@echo "  stage $(1)"
	@$(CXX) $(LDFLAGS) $$(call whole,$(STAGE_$(1))) $$(inputs) $$(call libs_of,$(STAGE_$(1))) -o $$@
endef
$(foreach s,$(STAGES) $(TOOLS),$(eval $(call stage_rules,$(s))))

# ---- Tests: a GoogleTest binary a room, and one each for pipeline, faults, cluster, same_as, build and mpi ----------
TEST_ROOMS := $(foreach r,$(ROOMS),$(if $(wildcard tests/$(r)/*_test.cc),$(r)))
TEST_RUNS  := $(foreach t,pipeline faults cluster same_as build gpu,$(if $(wildcard tests/$(t)/*_test.cc),$(t)))
# What an MPI can break: the ranks, what they send each other, and how they are started.
TEST_MPI   := ranks comm mpi
# With another MPI than the usual one, only that.
TESTS      := $(if $(filter openmpi,$(MPI)),$(TEST_ROOMS) $(TEST_RUNS) mpi fuzz,$(TEST_MPI))
TEST_BINARIES := $(TESTS:%=$(BUILD)/tests/%_test)
TEST_SUPPORT := $(call OBJECTS,tests/support/*.cc)
# What the helpers in tests/support need in addition to a test's own room.
TESTS_NEED := demo classes record image base

define test_rules
$(BUILD)/tests/$(1)_test: $(call OBJECTS,tests/$(1)/*_test.cc) $(TEST_SUPPORT) $(call linked,$(2),$(NEEDS_$(1)) tbb gtest)
	@mkdir -p $$(@D)
	@echo "  test  $(1)"
	@$(CXX) $(LDFLAGS) $$(call whole,$(2)) $$(inputs) $$(call libs_of,$(2),$(NEEDS_$(1)) tbb gtest) -o $$@
endef
$(foreach r,$(TEST_ROOMS),$(eval $(call test_rules,$(r),$(r) $(TESTS_NEED))))
$(foreach t,$(TEST_RUNS),$(eval $(call test_rules,$(t),train infer report verify list pack demo)))
$(eval $(call test_rules,mpi,pack))
# What reads bytes from outside, on changed inputs; and the same for libFuzzer (make fuzz).
NEEDS_fuzz := jpeg png webp
FUZZED := report checkpoint source
$(BUILD)/tests/fuzz_test: $(patsubst %,$(BUILD)/tests/fuzz/%.o,targets_test targets) $(TEST_SUPPORT) $(call linked,$(FUZZED) $(TESTS_NEED),$(NEEDS_fuzz) tbb gtest)
	@echo "  test  fuzz"
	@$(CXX) $(LDFLAGS) $(inputs) $(call libs_of,$(FUZZED) $(TESTS_NEED),$(NEEDS_fuzz) tbb gtest) -o $@
$(BUILD)/tests/fuzz/fuzzer: $(patsubst %,$(BUILD)/tests/fuzz/%.o,libfuzzer targets) $(call linked,$(FUZZED) $(TESTS_NEED),$(NEEDS_fuzz) tbb)
	@echo "  tool  fuzzer"
	@$(CXX) $(LDFLAGS) -fsanitize=fuzzer $(inputs) $(call libs_of,$(FUZZED) $(TESTS_NEED),$(NEEDS_fuzz) tbb) -o $@
$(BUILD)/tests/mpi_test: | $(patsubst %,$(BUILD)/bin/packhorse-%,list pack verify)
$(TEST_RUNS:%=$(BUILD)/tests/%_test): | $(STAGE_BINARIES) $(TOOL_BINARIES)
# Tests are compiled more often than they are run for long.
$(BUILD)/tests/%.o: OPTIMISE := -O1
$(BUILD)/tests/%.o: CXXFLAGS += -Itests $(FOUND_gtest_CFLAGS) -DPACKHORSE_ROOT='"$(CURDIR)"'
$(BUILD)/tests/support/%.o $(BUILD)/lint/tests/support/%.tidy: CXXFLAGS += -DPACKHORSE_MPI='"$(MPI)"' -DPACKHORSE_MPIRUN='"$(MPIRUN)"'

# What compares the files of two builds: `make same-as REV=...` and its own test use it.
$(BUILD)/tests/same_as/compare: $(BUILD)/tests/same_as/compare.o $(call linked,hdf5 metrics)
	@echo "  tool  compare"
	@$(CXX) $(LDFLAGS) $(inputs) $(call libs_of,hdf5 metrics) -o $@
$(BUILD)/tests/same_as_test: | $(BUILD)/tests/same_as/compare
# It builds this test again, with another HDF5.
$(BUILD)/tests/build_test: | $(BUILD)/tests/hdf5_test

# What writes a training step down for PyTorch to repeat.
$(BUILD)/tests/interop/dump_step: $(BUILD)/tests/interop/dump_step.o $(call linked,train)
	@echo "  tool  dump_step"
	@$(CXX) $(LDFLAGS) $(inputs) $(call libs_of,train) -o $@

# Beside the tests: the plug-in is looked for from there.
$(BUILD)/tests/engine_bench: $(BUILD)/tests/bench/engine_bench.o $(call linked,train infer)
	@echo "  bench engine_bench"
	@$(CXX) $(LDFLAGS) $(call whole,train) $(inputs) $(call libs_of,train) -o $@

# One step of a network, written down on a CPU and compared on a GPU.
$(BUILD)/tests/network_step: $(BUILD)/tests/gpu/network_step.o $(call linked,ops)
	@echo "  tool  network_step"
	@$(CXX) $(LDFLAGS) $(call whole,ops) $(inputs) $(call libs_of,ops) -o $@

# Where the plug-in is built: the tests of ops again, on the GPU that a stand-in plays.
GPU_TEST_BINARIES := $(patsubst %,$(BUILD)/tests/%_test,ops_cuda standin cudnn cuda_plans)
GPU_TESTS := $(if $(filter openmpi,$(MPI)),$(if $(GPU_NVCC),$(GPU_TEST_BINARIES)))
$(BUILD)/tests/gpu_test: | $(if $(GPU_NVCC),$(PLUGIN) standins)
$(BUILD)/tests/ops_cuda_test: $(BUILD)/tests/ops_test $(PLUGIN) standins
	@printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s --gtest_filter="*cuda*" "$$@"\n' $(CURDIR)/$(STANDIN) $(CURDIR)/$< >$@
	@chmod +x $@

unit-tests: $(TEST_BINARIES) $(GPU_TESTS)

test: deps-test
	@tests/found --show
	@$(MAKE) -Otarget -j$(JOBS) $(if $(filter openmpi,$(MPI)),stages) unit-tests
	@tests/run $(TEST_BINARIES) $$(ls $(GPU_TEST_BINARIES) 2>/dev/null)

# Only the tests of the rooms: they need no stage.
ROOM_TESTS := $(TEST_ROOMS:%=$(BUILD)/tests/%_test)
.PHONY: test-rooms room-tests
room-tests: $(ROOM_TESTS)
test-rooms: deps-test
	@tests/found --show
	@$(MAKE) -Otarget -j$(JOBS) room-tests
	@tests/run $(ROOM_TESTS)

# ---- Stand-ins for CUDA, cuDNN and NCCL, on which the plug-in itself runs without a GPU ------------------------------
STANDIN := $(BUILD)/standin
standin_objects = $(patsubst %,$(BUILD)/tests/standin/%.o,$(1))
STANDIN_CUDART := fibres symbols kernel_table memory nodes runtime cudart kernels
$(BUILD)/tests/standin/%.o: OPTIMISE := -O2
$(BUILD)/tests/standin/%.o: CXXFLAGS += -fPIC -Wno-unknown-pragmas $(GPU_CFLAGS)
$(STANDIN)/libcudart.so.13: $(call standin_objects,$(STANDIN_CUDART)) tests/standin/cudart.map
	@mkdir -p $(@D)
	@echo "  stand-in libcudart"
	@$(CXX) -shared $(inputs) -Wl,-soname,$(@F) -Wl,--version-script=tests/standin/cudart.map -o $@ -ldl -lpthread
$(STANDIN)/libcudnn.so.9: $(call standin_objects,cudnn cudnn_graph cudnn_run) tests/standin/cudnn.map $(STANDIN)/libcudart.so.13
	@echo "  stand-in libcudnn"
	@$(CXX) -shared $(inputs) $(STANDIN)/libcudart.so.13 -Wl,-soname,$(@F) -Wl,--version-script=tests/standin/cudnn.map -o $@
$(STANDIN)/libnccl.so.2: $(call standin_objects,shared_ranks nccl) tests/standin/nccl.map $(STANDIN)/libcudart.so.13
	@echo "  stand-in libnccl"
	@$(CXX) -shared $(inputs) $(STANDIN)/libcudart.so.13 -Wl,-soname,$(@F) -Wl,--version-script=tests/standin/nccl.map -o $@ -lpthread

# Their own tests: kernels of the tests, in a plug-in that nvcc builds.
$(BUILD)/tests/standin/%.o: CXXFLAGS += -DSTANDIN_BUILD='"$(CURDIR)/$(STANDIN)"' -DSTANDIN_SOURCE='"$(CURDIR)/tests/standin"'
$(STANDIN)/libtest_plugin.so: tests/standin/test_plugin.cu $(wildcard tests/standin/*.cuh) | $(STANDIN)/libcudart.so.13
	@echo "  nvcc  $<"
	@$(GPU_NVCC) -std=c++20 -O2 -arch=sm_90 -cudart shared -Xcompiler -fPIC -shared -Itests $< -o $@
$(STANDIN)/alone/libcudart.so.13: $(call standin_objects,$(filter-out kernels,$(STANDIN_CUDART)) test_kernels) tests/standin/cudart.map
	@mkdir -p $(@D)
	@$(CXX) -shared $(inputs) -Wl,-soname,$(@F) -Wl,--version-script=tests/standin/cudart.map -o $@ -ldl -lpthread
$(STANDIN)/open_plugin: $(call standin_objects,open_plugin) | $(STANDIN)/libcudart.so.13
	@$(CXX) $(inputs) -o $@ -ldl
on_standins = $(1:%=$(STANDIN)/%) -Wl,-rpath,$(CURDIR)/$(STANDIN)
$(BUILD)/tests/standin_test: $(call standin_objects,test_kernels kernels_test rules_test orders_test nccl_test plugin_test) | standins $(STANDIN)/libtest_plugin.so $(STANDIN)/alone/libcudart.so.13 $(STANDIN)/open_plugin
	@echo "  test  standin"
	@$(CXX) $(LDFLAGS) $(inputs) $(call on_standins,libcudart.so.13 libnccl.so.2) $(FOUND_gtest_LIBS) -lpthread -ldl -o $@

# Convolutions as cuDNN's graphs: their numbers on the stand-in, and what the real library has plans for (no GPU needed).
$(BUILD)/tests/cuda_plans/%.o: CXXFLAGS += $(GPU_CFLAGS)
PLANS := $(BUILD)/lib/ops/cuda/convolution_graph.o $(BUILD)/lib/base.a
$(BUILD)/tests/cudnn_test: $(BUILD)/tests/cuda_plans/cudnn_test.o $(PLANS) | standins
	@echo "  test  cudnn"
	@$(CXX) $(LDFLAGS) $(inputs) $(call on_standins,libcudart.so.13 libcudnn.so.9) $(call libs_of,base,gtest tbb) -o $@
$(BUILD)/tests/cuda_plans_test: $(patsubst %,$(BUILD)/tests/cuda_plans/%.o,plans_test recorder) $(call standin_objects,cudnn_graph) $(PLANS)
	@echo "  test  cuda_plans"
	@$(CXX) $(LDFLAGS) $(inputs) $(GPU_LIBS) $(call libs_of,base,gtest tbb) -ldl -o $@
$(BUILD)/tests/cuda_plans/plans_tool: $(patsubst %,$(BUILD)/tests/cuda_plans/%.o,plans_tool recorder) $(call standin_objects,cudnn_graph) $(PLANS)
	@$(CXX) $(LDFLAGS) $(inputs) $(GPU_LIBS) $(call libs_of,base,tbb) -ldl -o $@
$(BUILD)/tests/cuda_plans/network_specs: $(BUILD)/tests/cuda_plans/network_specs.o $(BUILD)/lib/ops/cuda/convolution_graph.o $(call linked,ops)
	@$(CXX) $(LDFLAGS) $(inputs) $(GPU_LIBS) $(call libs_of,ops,tbb) -o $@
# It runs plans, so it has the plug-in's own parts, and needs a GPU.
$(BUILD)/tests/cuda_plans/plan_times: $(BUILD)/tests/cuda_plans/plan_times.o $(patsubst %,$(BUILD)/lib/%.o,ops/cuda/convolution_graph ops/cuda/plan_trials ops/cuda/made_up ops/cuda/pointwise ops/cuda/tiles device/cuda/cuda_device) $(call linked,ops)
	@$(CXX) $(LDFLAGS) $(inputs) $(GPU_LIBS) $(call libs_of,ops,tbb) -o $@

.PHONY: standins
standins: $(STANDIN)/libcudart.so.13 $(STANDIN)/libcudnn.so.9 $(STANDIN)/libnccl.so.2

# ---- The rest -------------------------------------------------------------------------------------------------------
deps:       ; @tests/deps make
deps-demo:  ; @tests/deps make demo
deps-test:  ; @tests/deps make test
deps-campaign: ; @tests/deps make test campaign
deps-lint:  ; @tests/deps make lint
deps-gpu:   ; @tests/deps-gpu

demo: deps-demo all
	@jobs/demo.sh

bench: all
	@for script in tests/bench/*.sh; do [ ! -e "$$script" ] || bash "$$script" || exit 1; done

test-interop: all
	@for script in tests/interop/*.sh; do [ ! -e "$$script" ] || bash "$$script" || exit 1; done

# REV=REVISION: what this build is compared with. Without it the script says what to give.
same-as: deps
	@$(MAKE) -Otarget -j$(JOBS) stages $(BUILD)/tests/same_as/compare
	@tests/same_as/same_as.sh "$(REV)"

# What is too long for `make test`. SIZE=N: N times as long. REV=REVISION: what this build must be the same as.
SIZE ?= 1
campaign: deps-campaign
	@tests/found --show
	@$(MAKE) -Otarget -j$(JOBS) stages unit-tests
	@tests/run $(TEST_BINARIES) $$(ls $(GPU_TEST_BINARIES) 2>/dev/null)
	@tests/campaign/run.sh $(SIZE)
	@$(MAKE) fuzz
	@tests/campaign/processors.sh
	@tests/campaign/arm64.sh
	@tests/campaign/container.sh
	@tests/campaign/prefix.sh
	@tests/campaign/bundle.sh
	@$(MAKE) test-interop
	@tests/elsewhere.sh
	@$(if $(REV),$(MAKE) same-as REV=$(REV),echo "campaign: no REV=REVISION given, so nothing is compared with another revision")

# SECONDS=N: for each target. TARGETS="png tar": only those.
fuzz:
	@SECONDS_EACH=$(or $(SECONDS),60) tests/fuzz/run.sh $(TARGETS)

layers:
	@tests/layers

# Style, then what a careful reader would stumble over: clang-tidy a file, as many at once as there are cores.
# What needs CUDA's headers is looked at where they are.
ALL_SOURCES = $(wildcard lib/*/*.cc lib/*/*/*.cc stages/*.cc tests/*/*.cc)
WITH_CUDA = $(wildcard lib/*/cuda/*.cc tests/standin/*.cc tests/cuda_plans/*.cc)
SOURCES = $(if $(GPU_NVCC),$(ALL_SOURCES),$(filter-out $(WITH_CUDA),$(ALL_SOURCES)))
HEADERS = $(wildcard lib/*/*.h lib/*/*/*.h tests/*/*.h lib/*/*/*.cuh lib/*/*/*.cu tests/*/*.cuh tests/*/*.cu)
SCRIPTS = $(wildcard jobs/*.sbatch jobs/*.sh slurm/up slurm/down tests/deps tests/deps-gpu tests/found tests/found-gpu tests/gpu/check tests/gpu/bundle tests/why tests/run tests/layers tests/owners tests/peers tests/*.sh tests/*/*.sh .ci/run)
lint: deps-lint layers
	@clang-format --dry-run -Werror $(SOURCES) $(HEADERS)
	@shellcheck -x $(SCRIPTS)
	@$(MAKE) -k -Otarget -j$(JOBS) $(SOURCES:%.cc=$(BUILD)/lint/%.tidy)
	@echo "lint: $(words $(SOURCES)) sources, $(words $(HEADERS)) headers and $(words $(SCRIPTS)) scripts are clean"

# A source is looked at again when it or a header that it includes has changed since.
$(BUILD)/lint/%.tidy: %.cc .clang-tidy
	@mkdir -p $(@D)
	@echo "  tidy  $<"
	@$(CXX) $(CXXFLAGS) $(LINT_FLAGS) $(call cflags_of,$(room)) -MM -MP -MT $@ -MF $(@:.tidy=.d) $<
	@clang-tidy --quiet $(LINT_CHECKS) -p /nonexistent $< -- $(CXXFLAGS) $(LINT_FLAGS) $(call cflags_of,$(room)) 2>/dev/null
	@touch $@
# The static analyzer takes most of the time, and in tests it would mostly walk through GoogleTest's macros.
$(BUILD)/lint/tests/%.tidy: LINT_CHECKS = --checks=-clang-analyzer-*
$(WITH_CUDA:%.cc=$(BUILD)/lint/%.tidy): CXXFLAGS += $(GPU_CFLAGS) -Wno-unknown-pragmas -DSTANDIN_BUILD='""' -DSTANDIN_SOURCE='""'
LINT_FLAGS = -Itests $(FOUND_gtest_CFLAGS) -DPACKHORSE_ROOT='""'

# PREFIX/bin has the executables. PREFIX/share/packhorse has what to run, on what and on which data, in the folders that
# this tree has them in. No file there holds PREFIX, so the whole can be moved; runs/ goes to the user's own folder.
PREFIX ?= /usr/local
INSTALLED := $(DESTDIR)$(PREFIX)
EXECUTABLES := $(STAGE_BINARIES) $(TOOL_BINARIES)
JOB_FILES   := $(wildcard jobs/*.sbatch jobs/*.sh)
TEXTS       := jobs/README.md $(wildcard slurm/*.md slurm/*.example $(addprefix data_manifests/*.,json tsv md))
PLUGIN_PLACE := lib/packhorse
DOCUMENTS   := README.md CHANGELOG.md SECURITY.md VERSION LICENSE
# copy(MODE,FOLDER,FILES): folders get mode 755, whatever the umask
copy = install -D -m $(1) -t "$(INSTALLED)/$(2)" $(3)
install: all
	@$(call copy,755,bin,$(EXECUTABLES))
	@if [ -e $(BUILD)/found/gpu.mk ]; then $(call copy,644,$(PLUGIN_PLACE),$(BUILD)/$(PLUGIN_PLACE)/packhorse-cuda.so); fi
	@$(call copy,755,share/packhorse/jobs,$(JOB_FILES))
	@$(foreach folder,jobs slurm data_manifests,$(call copy,644,share/packhorse/$(folder),$(filter $(folder)/%,$(TEXTS))) &&) true
	@$(call copy,644,share/doc/packhorse,$(DOCUMENTS))
	@echo "installed in $(INSTALLED): bin/packhorse-*, share/packhorse/jobs, share/packhorse/data_manifests"

# The executables are asked for their libraries, so no list of packages can be out of date. They start these programs and
# read this file, where they are there.
run-packages:
	@$(MAKE) -s stages >&2
	@tests/owners $(EXECUTABLES) $$(command -v $(MPIRUN) gnuplot) $(wildcard /usr/share/wordnet/data.noun)

# Removes what install copies, and the folders that are then empty.
uninstall:
	@cd "$(INSTALLED)/" && rm -f $(addprefix bin/,$(notdir $(EXECUTABLES))) $(DOCUMENTS:%=share/doc/packhorse/%) \
	  $(addprefix share/packhorse/,$(JOB_FILES) $(TEXTS)) $(PLUGIN_PLACE)/packhorse-cuda.so && \
	  find share/packhorse share/doc/packhorse $$(ls -d $(PLUGIN_PLACE) 2>/dev/null) -type d -empty -delete
	@echo "removed from $(INSTALLED)"

# PARTS="nodes speed": tests/gpu/check says which there are. A bundle is for a machine where nothing can be built.
GPU_CHECK := $(patsubst %,$(BUILD)/tests/%,ops_test gpu_test engine_bench network_step cuda_plans/plan_times)
GPU_BUNDLE := $(BUILD)/packhorse-gpu-check
.PHONY: gpu-check-build
gpu-check-build: stages $(GPU_CHECK)
gpu-check:
	@$(MAKE) -Otarget -j$(JOBS) gpu-check-build
	@tests/gpu/check $(PARTS)
bundle: deps-gpu
	@$(MAKE) -Otarget -j$(JOBS) gpu-check-build
	@tests/gpu/bundle $(GPU_BUNDLE)
	@tar -czf $(GPU_BUNDLE).tar.gz -C $(BUILD) $(notdir $(GPU_BUNDLE))
	@echo "bundle: $(GPU_BUNDLE).tar.gz, $$(( ($$(stat -c %s $(GPU_BUNDLE).tar.gz) + 999999) / 1000000 )) MB; $$(sed -n 's/^# *tar/tar/p' tests/gpu/check)"

print-rooms:
	@$(foreach s,$(SHELVES),$(foreach r,$(ROOMS_$(s)),echo "$(s) $(r): $(USES_$(r))";))

clean:
	@rm -rf $(BUILD)

define HELP
make                 installs what is missing, then builds the stages: build/bin/packhorse-list, -pack, -train, ...
make demo            runs the whole pipeline on real images, on this machine: list, pack, train, evaluate, export, predict
make test            builds and runs the tests (a few minutes)
make test-rooms      builds and runs the unit tests of lib/ only, without the stages
make test MPI=mpich  with MPICH, in build/mpich: ranks, what they send each other, and a pack by several
make campaign        runs what is too long for that: random kills and damage, other processors, make test-interop;
                     SIZE=N: N times as long
make test SANITIZE=address,undefined   with the compiler's sanitizers, in a build folder of its own
make fuzz            what reads bytes from outside under libFuzzer: SECONDS=60 for each of TARGETS="png tar ..."
make test-interop    checks against PyTorch and MXNet, in virtual environments of their own
make same-as REV=... compares the results of this build with those of a git revision, to the last bit
make bench           measures speed, next to the same work done by other tools
make lint            checks style, clang-tidy, shellcheck, and the order of the shelves
make layers          checks only the last: each room includes lower shelves only
make install         installs the stages and job files under PREFIX=/usr/local (and DESTDIR); the tree can be moved
make uninstall       removes them from there
make run-packages    prints the packages that a machine needs that only runs what is installed
make deps            installs only what is missing (on Debian and Ubuntu; without root it prints the command; elsewhere it
                     says what is missing, by library: modules, Spack and conda will do)
make deps-gpu        brings what the GPU plug-in is built with (nvcc, CUDA runtime, cuDNN, NCCL) into build/gpu, from PyPI
make gpu-check       proves and measures on a GPU what nothing else can: PARTS="device training networks nodes speed feed sanitizer"
make bundle          packs that for a machine with a GPU where nothing can be built: build/packhorse-gpu-check.tar.gz
make clean           removes build/

JOBS=N               compiles N files at a time (default: all cores)
OPTIMISE=-O0         compiler optimisation (default: -O2)
CXX=clang++          another compiler (default: g++)
GPU=0                without the GPU plug-in
PKG_CONFIG_PATH, CMAKE_PREFIX_PATH, CONDA_PREFIX, CPATH with LIBRARY_PATH: where libraries are, if not in the system
endef
export HELP
help:
	@echo "$$HELP"

-include $(shell find $(addprefix $(BUILD)/,lib stages tests lint) -name '*.d' 2>/dev/null)
endif
