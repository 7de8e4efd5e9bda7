# Two stages: the first builds, the second holds what runs. Both ask the Makefile for what they need.
#   docker build --tag packhorse .                                              # Debian 13
#   docker build --tag packhorse --build-arg BASE=debian:bookworm-slim .        # Debian 12
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" packhorse pipeline.sh birds.json --local
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends make g++
WORKDIR /src
COPY . .
# Without symbols the executables need a sixth of the space.
ENV LDFLAGS=-s
RUN make && make DESTDIR=/installed install && make run-packages > /installed/run-packages

FROM ${BASE}
COPY --from=build /installed /
# Not copied: what UCX brings for AMD's GPUs, a compiler of 240 MB, and those parts of WordNet that nothing reads.
RUN printf 'path-exclude=/usr/lib/*/%s*\n' libLLVM libamd_comgr libamdhip64 libz3 > /etc/dpkg/dpkg.cfg.d/packhorse \
 && printf 'path-exclude=/usr/share/wordnet/*\npath-include=/usr/share/wordnet/data.noun\n' >> /etc/dpkg/dpkg.cfg.d/packhorse \
 && apt-get update && apt-get install -y --no-install-recommends $(cat /run-packages) \
 && apt-get clean && rm -rf /run-packages /var/lib/apt/lists/* \
 && if ldd /usr/local/bin/packhorse-* | grep 'not found'; then exit 1; fi \
 && useradd --key HOME_MODE=0755 --home-dir /work --create-home packhorse
USER packhorse
WORKDIR /work
ENV PATH=/usr/local/share/packhorse/jobs:$PATH
