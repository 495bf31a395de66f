# Dactyl: see README.md. `make help` lists the targets.
SHELL   := /bin/bash
OUT     := _out
MODULE  := github.com/dactyl-os/dactyl
DAEMONS := configd discoveryd diskd gateway hostd init networkd timed trustd
ALONE   := etcdd
MODULES := proto proto/internal/protoc services/kit $(addprefix services/,$(DAEMONS) $(ALONE) dactyl) rootfs tools

# Build metadata ("+") does not sort: no client finds the node older than itself. Where "+" may not stand, "-" does (kit/version).
TAG   ?= v1.8.4+dactyl.1
SHA   := $(or $(SHA),$(shell git rev-parse --short HEAD 2>/dev/null || echo unknown))
BUILT := $(or $(BUILT),$(shell git log -1 --format=%cI 2>/dev/null || echo unknown))
EPOCH := $(or $(EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || echo 0))
VERSION := $(MODULE)/services/kit/version
LDFLAGS := -s -w -X $(VERSION).Tag=$(TAG) -X $(VERSION).SHA=$(SHA) -X $(VERSION).Built=$(BUILT)
BUILD := CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "$(LDFLAGS)"

# Images: PLATFORM=linux/arm64 or several with commas; WITH_RACE=1 and WITH_DEBUG=1 for the daemons; SWAP="networkd=FILE ..." for your own.
# These and FAST=1 pack quickly instead of small.
PLATFORM ?= linux/amd64
comma    := ,
ARCHES    = $(patsubst linux/%,%,$(subst $(comma), ,$(PLATFORM)))
CACHE    ?= _out/cache
IMAGE     = $(OUT)/rootfs-builder -out $(OUT) -cache $(CACHE) -epoch $(EPOCH) -tag $(TAG) -sha $(SHA) -ldflags "$(LDFLAGS)" \
	-tags grpcnotrace$(if $(WITH_DEBUG),$(comma)debug) $(if $(WITH_RACE),-race) $(if $(FAST)$(SWAP)$(WITH_DEBUG)$(WITH_RACE),-fast) -linked "$(DAEMONS)" -alone "$(ALONE)" $(addprefix -swap ,$(SWAP))

# Packages that images are built with (gcc: runc) and tests use as outside views, by the program that shows they are there;
# tools/bare-machine finds out when one is missing. git, make and ca-certificates come before make does.
APT := ip:iproute2 nsenter:util-linux openssl:openssl etcdctl:etcd-client curl:curl tcpdump:tcpdump find:findutils ps:procps \
       mksquashfs:squashfs-tools xz:xz-utils cpio:cpio \
       sgdisk:gdisk mkfs.ext4:e2fsprogs e2fsck:e2fsprogs blkid:util-linux losetup:mount qemu-system-x86_64:qemu-system-x86 dnsmasq:dnsmasq-base socat:socat genisoimage:genisoimage mkfs.vfat:dosfstools mcopy:mtools \
       zstd:zstd debugfs:e2fsprogs gcc:gcc gcc:libc6-dev debootstrap:debootstrap \
       containerd:containerd docker-registry:docker-registry

.DEFAULT_GOAL := help
.PHONY: help build binaries swap up down generate check-generate prepare prepare-arm64 vet lint test unit fuzz e2e test-crash test-etcd test-rotate race raced test-slow bench bench-vm clean \
        kernel rootfs initramfs image-sizes check-image rootfs-builder executables test-stage1 test-vm images

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build _out/dactylctl, the multi-call program and etcdd with every daemon's name in _out/bin
	@echo "==> building $(OUT)/dactylctl and $(OUT)/bin (the first time takes a few minutes)"
	@mkdir -p $(OUT)/bin
	@$(BUILD) -o $(OUT)/dactylctl ./tools/dactylctl
	@$(BUILD) -o $(OUT)/bin/dactyl ./services/dactyl
	@$(BUILD) -o $(OUT)/bin/etcdd ./services/etcdd/cmd/etcdd
	@for name in $(DAEMONS); do \
		if [ ! -e $(OUT)/bin/$$name ] || [ -L $(OUT)/bin/$$name ]; then ln -sfn dactyl $(OUT)/bin/$$name; \
		else echo "    $$name: your own build stays ($(OUT)/bin/$$name; rm it to go back)"; fi; done

binaries: ## build every daemon as a binary of its own in _out/separate
	@mkdir -p $(OUT)/separate
	@for name in $(DAEMONS) $(ALONE); do echo "==> $$name"; \
		$(BUILD) -o $(OUT)/separate/$$name ./services/$$name/cmd/$$name || exit 1; done

swap: ## put your own build of one daemon in place: make swap DAEMON=networkd
	@test -n "$(DAEMON)" || { echo "name the daemon: make swap DAEMON=networkd"; exit 2; }
	@rm -f $(OUT)/bin/$(DAEMON)
	@$(BUILD) -o $(OUT)/bin/$(DAEMON) ./services/$(DAEMON)/cmd/$(DAEMON)
	@echo "$(OUT)/bin/$(DAEMON) is your build: _out/dactylctl -n NODE service $(DAEMON) restart"

# PROVISIONER=qemu makes virtual machines: one control plane, one worker.
PROVISIONER ?= sandbox

up: build $(if $(filter qemu,$(PROVISIONER)),prepare kernel initramfs) ## start the local cluster: control planes 10.5.0.2-4, worker 10.5.0.5; PROVISIONER=qemu: 10.5.0.2-3
	@$(OUT)/dactylctl cluster create --provisioner $(PROVISIONER) --workers 1 \
		$(if $(filter qemu,$(PROVISIONER)),--controlplanes 1,--controlplanes 3 --config-patch @deploy/examples/guide01.yaml)

down: ## end the local cluster and leave nothing behind
	@test -x $(OUT)/dactylctl || $(MAKE) --no-print-directory build
	@$(OUT)/dactylctl cluster destroy

prepare: ## install the programs that building and testing call (Debian, root)
	@missing=; for pair in $(APT); do command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	if [ -n "$$missing" ]; then echo "==> installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

prepare-arm64: ## install what images for arm64 need: a cross compiler for runc, an emulator
	@$(MAKE) --no-print-directory prepare APT="aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu \
		aarch64-linux-gnu-gcc:libc6-dev-arm64-cross qemu-system-aarch64:qemu-system-arm"

generate: ## generate Go from the .proto files
	@proto/generate

check-generate: generate ## fail when generating changes a committed file
	@git diff --exit-code --stat -- 'proto/*.pb.go' 'proto/*_gen.go' proto/resource/testdata || { echo "generated files differ: run make generate and commit"; exit 1; }

vet: ## go vet every module
	@for m in $(MODULES); do (cd $$m && GOWORK=off go vet ./...) || exit 1; done

# golangci-lint is a module of its own: what it is made of enters nobody else's graph.
lint: ## golangci-lint over every module: the rules and their reasons are in .golangci.yml
	@GOWORK=off go build -C tools/lint -o $(abspath $(OUT))/tools/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@failed=; for m in $(MODULES); do (cd $$m && GOWORK=off $(abspath $(OUT))/tools/golangci-lint run ./...) || failed="$$failed $$m"; done; \
	[ -z "$$failed" ] || { echo "lint:$$failed"; exit 1; }

test: prepare check-generate ## all that README promises (as root; under an hour on two cores)
	@tools/run-tests

# Those that take longest first: make -j3 then ends soonest.
LONGEST := services/init services/etcdd services/gateway
unit: $(addprefix unit/,$(filter $(LONGEST),$(MODULES)) $(filter-out $(LONGEST),$(MODULES))) ## tests of every module, each with GOWORK=off; -j3 for three at a time

unit/%:
	@echo "==> $*"; cd $* && GOWORK=off go test -count=1 -timeout 15m $(if $(VERBOSE),-v) $$(GOWORK=off go list ./... | grep -vE '/(e2e|vm)$$')

fuzz: ## every fuzz target for FUZZTIME (30s)
	@tools/run-fuzz

e2e: prepare build ## the suite against a sandbox cluster (root)
	@cd tools && go test -count=1 -timeout 45m -v ./e2e

test-crash: prepare build ## the crash matrix in full: five rounds of every death for every daemon (root, half an hour)
	@cd tools && DACTYL_CRASH_ROUNDS=5 go test -count=1 -timeout 60m -v -run 'Matrix|TestStops|TestKillInit' ./e2e

test-etcd: prepare ## members leave and are removed, twenty rounds of each way (root, a quarter of an hour)
	@cd services/etcdd && DACTYL_ETCD_ROUNDS=20 GOWORK=off go test -count=1 -timeout 30m -v -run TestOut ./internal/keeper

test-rotate: prepare build ## ten rotations of the CA in a row under calls, and one killed in each phase (root)
	@cd tools && DACTYL_ROTATIONS=10 go test -count=1 -timeout 30m -v -run 'TestRotateCA' ./e2e

test-vm: prepare prepare-arm64 build kernel initramfs test-stage1 ## every test on virtual machines (root; an hour and a quarter without KVM)
	@cd tools && go test -count=1 -timeout 150m -v ./vm

# Those whose tests are full of goroutines: what CI runs under the race detector. make race takes all.
RACED := services/kit $(addprefix services/,init gateway networkd etcdd)

race: ## unit tests under the race detector: MODULES="services/init …" for some
	@for m in $(MODULES); do echo "==> $$m"; (cd $$m && GOWORK=off go test -race -short -count=1 $$(GOWORK=off go list ./... | grep -vE '/(e2e|vm)$$')) || exit 1; done

bench: prepare build binaries ## print the table of speed and size
	@cd tools && go run ./bench

bench-vm: prepare build kernel initramfs ## print the table of virtual machines: medians of RUNS (3)
	@cd tools && go run ./bench -vm -runs $(or $(RUNS),3)

kernel: rootfs-builder ## _out/vmlinuz-ARCH: Debian's kernel, pinned in rootfs/kernel.yaml
	@for a in $(ARCHES); do echo "==> $(OUT)/vmlinuz-$$a"; $(IMAGE) -arch $$a kernel || exit 1; done

rootfs: rootfs-builder ## _out/rootfs-ARCH.sqsh: the root file system
	@for a in $(ARCHES); do echo "==> $(OUT)/rootfs-$$a.sqsh (the first time takes some minutes)"; $(IMAGE) -arch $$a rootfs || exit 1; done

initramfs: rootfs-builder ## _out/initramfs-ARCH.xz: stage1 and the root file system
	@for a in $(ARCHES); do echo "==> $(OUT)/initramfs-$$a.xz (the first time takes some minutes)"; $(IMAGE) -arch $$a initramfs || exit 1; done

images: rootfs-builder ## _out/images: every image of dactylctl image default, as an OCI layout (the first time half an hour on two busy cores); ONLY="NAME ..."
	@echo "==> $(OUT)/images"; nice $(IMAGE) -arch $(subst linux/,,$(PLATFORM)) -only "$(ONLY)" images

image-sizes: rootfs-builder ## what each part of an image takes
	@for a in $(ARCHES); do $(IMAGE) -arch $$a sizes || exit 1; done

executables: rootfs-builder ## write rootfs/executables.txt anew after a program was added on purpose
	@$(IMAGE) -arch amd64 -update rootfs

check-image: initramfs ## build the image once more in another directory and compare all bytes; COLD=1 compiles everything again
	@for a in $(ARCHES); do SHA=$(SHA) BUILT=$(BUILT) EPOCH=$(EPOCH) rootfs/check-image $(OUT) $(CACHE) $$a $(if $(COLD),cold) || exit 1; done

test-stage1: ## boot stage1 in virtual machines: it becomes init, or says why not
	@cd rootfs && GOWORK=off go test -tags vm -count=1 -v ./build

rootfs-builder:
	@mkdir -p $(OUT) && cd rootfs && GOWORK=off go build -trimpath -o $(abspath $(OUT))/rootfs-builder ./build

raced: ## make race of the modules that CI takes
	@$(MAKE) --no-print-directory race MODULES="$(RACED)"

# The share of one processor that the tests get. What fails here rests on how fast the machine is.
SLOW ?= 20

test-slow: ## unit tests of MODULES with SLOW (20) percent of a processor; compiling is not slowed
	@failed=; for m in $(MODULES); do echo "==> $$m"; (cd $$m && GOWORK=off go test -count=1 -p 1 -timeout 60m -exec "$(abspath tools/slow) $(SLOW)" \
		$$(GOWORK=off go list ./... | grep -vE '/(e2e|vm)$$')) || failed="$$failed $$m"; done; [ -z "$$failed" ] || { echo "test-slow:$$failed"; exit 1; }

clean: ## remove _out
	@rm -rf $(OUT)
