# slicereduce for NVIDIA's cards, and for processors where there is none. From the repository's root
# (docker/build-images does it with whatever engine is there):
#   docker build --file docker/cuda.Dockerfile --tag slicereduce:cuda .
# The same base as cpu.Dockerfile's: LibTorch's wheels bring CUDA's libraries, others nvcc, and the host the driver
# (NVIDIA Container Toolkit).
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS builder
ENV SLICEREDUCE_CUDA=ON CCACHE_DIR=/var/cache/ccache CUDA_HOME=/opt/cuda
# The program finds LibTorch where it was built with it, so the folder is the same in both stages.
WORKDIR /opt/slicereduce
# By themselves, so that a changed source does not fetch packages again.
COPY scripts/setup scripts/requirements-*.txt scripts/
COPY docker/requirements-nvcc.txt docker/
# The wheels have no names but those with a version, and lib where nvcc looks for lib64.
# A network that reads along brings certificates of its own: --secret id=certificates,src=FILE
RUN --mount=type=secret,id=certificates \
  if [ -e /run/secrets/certificates ]; then export PIP_CERT=/run/secrets/certificates; fi; \
  export PIP_NO_CACHE_DIR=1 \
  && scripts/setup \
  && .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --requirement docker/requirements-nvcc.txt \
  && ln -s "${PWD}"/.venv/lib/python3*/site-packages/nvidia/cu13 "${CUDA_HOME}" \
  && ln -s lib "${CUDA_HOME}/lib64" \
  && ln -s libcudart.so.13 "${CUDA_HOME}/lib/libcudart.so"
COPY . .
# Of cards, as CMAKE_CUDA_ARCHITECTURES; all that the build knows, if it is empty.
ARG ARCHITECTURES=
RUN --mount=type=cache,target=/var/cache/ccache \
  cmake --preset cuda -DSLICEREDUCE_TESTS=OFF ${ARCHITECTURES:+"-DCMAKE_CUDA_ARCHITECTURES=${ARCHITECTURES}"} \
  && cmake --build build-cuda --target slicereduce
RUN docker/gather build-cuda /image

FROM ${BASE}
COPY --from=builder /image/opt/slicereduce/packages /opt/slicereduce/packages
RUN apt-get update -qq \
  && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y -qq --no-install-recommends </opt/slicereduce/packages \
  && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY --from=builder /image/ /
# Folders that become volumes take their owner from here.
RUN useradd --uid 1000 --create-home slicereduce && install --directory --owner slicereduce /runs /start
# Single copies between processes need a right (ptrace) that containers often lack; Open MPI then warns at each message.
# NVIDIA's variables are what its Container Toolkit gives a container by.
ENV PATH=/opt/slicereduce/scripts:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  SLICEREDUCE=/usr/local/bin/slicereduce \
  OMPI_MCA_btl_vader_single_copy_mechanism=none \
  NVIDIA_VISIBLE_DEVICES=all \
  NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER slicereduce
WORKDIR /runs
CMD ["slicereduce", "--help"]
