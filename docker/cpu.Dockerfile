# slicereduce for processors. From the repository's root (docker/build-images does it with whatever engine is there):
#   docker build --file docker/cpu.Dockerfile --tag slicereduce:cpu .
# Pin it by a digest for images that are the same each time: debian@sha256:...
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS builder
ENV SLICEREDUCE_CUDA=OFF CCACHE_DIR=/var/cache/ccache
# The program finds LibTorch where it was built with it, so the folder is the same in both stages.
WORKDIR /opt/slicereduce
# By themselves, so that a changed source does not fetch packages again.
COPY scripts/setup scripts/requirements-*.txt scripts/
# A network that reads along brings certificates of its own: --secret id=certificates,src=FILE
RUN --mount=type=secret,id=certificates \
  if [ -e /run/secrets/certificates ]; then export PIP_CERT=/run/secrets/certificates; fi; \
  PIP_NO_CACHE_DIR=1 scripts/setup
COPY . .
RUN --mount=type=cache,target=/var/cache/ccache \
  cmake --preset cpu -DSLICEREDUCE_TESTS=OFF && cmake --build build-cpu --target slicereduce
RUN docker/gather build-cpu /image

FROM ${BASE}
COPY --from=builder /image/opt/slicereduce/packages /opt/slicereduce/packages
RUN apt-get update -qq \
  && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y -qq --no-install-recommends </opt/slicereduce/packages \
  && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY --from=builder /image/ /
# Folders that become volumes take their owner from here.
RUN useradd --uid 1000 --create-home slicereduce && install --directory --owner slicereduce /runs /start
# Single copies between processes need a right (ptrace) that containers often lack; Open MPI then warns at each message.
ENV PATH=/opt/slicereduce/scripts:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  SLICEREDUCE=/usr/local/bin/slicereduce \
  OMPI_MCA_btl_vader_single_copy_mechanism=none
USER slicereduce
WORKDIR /runs
CMD ["slicereduce", "--help"]
