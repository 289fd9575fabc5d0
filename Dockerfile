# moekit with both kits, exports and the service, on the processor.
#
#   docker build -t moekit .
#   docker run --rm -v "$PWD/parts:/data" -v "$PWD/runs:/moekit/runs" moekit \
#     adapt industrial --data folder=/data --out runs/parts
#
# The default build of torch brings 5 GB of CUDA libraries. If TORCH_INDEX names a package index with
# the CPU build, torch comes from there:
#
#   docker build --build-arg TORCH_INDEX=... -t moekit .

FROM python:3.11-slim

ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /srv/moekit
COPY . .
RUN if [ -n "$TORCH_INDEX" ]; then \
      pip install -i "$TORCH_INDEX" \
        "$(grep '^torch==' constraints.txt)" "$(grep '^torchvision==' constraints.txt)"; \
    fi \
    && pip install -c constraints.txt ".[industrial,medical,weights,export,serve]" \
    && moekit plugins list

RUN useradd --create-home moekit && mkdir /moekit && chown moekit /moekit
USER moekit
WORKDIR /moekit
ENV MOEKIT_CACHE_DIR=/moekit/cache
ENTRYPOINT ["moekit"]
