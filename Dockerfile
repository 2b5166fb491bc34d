# An image for each program, out of one build:
#
#   docker build --target coordinator -t altergolden/coordinator .
#
# Targets: coordinator, gateway-worker, discord-sim, altergolden (the last is what a build without --target makes).
# Needs BuildKit: the default since Docker 23, DOCKER_BUILDKIT=1 before. compose.yaml builds all of them.

ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /src
COPY . .
# `dist` is for running, `dev` builds faster.
ARG PROFILE=dist
# What `--version` names as the commit: --build-arg COMMIT="$(git rev-parse --short HEAD)". Without it the line is left out.
ARG COMMIT=
# The cache mounts keep what was downloaded and compiled: after a change only what it touches is built again. A layer with only the
# dependencies would help CI machines too, which keep no mounts, but would need a list of all crates here.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,sharing=locked \
    ALTERGOLDEN_COMMIT="$COMMIT" cargo build --locked --profile "$PROFILE" --target-dir "/target/$PROFILE" --bins \
        -p coordinator -p gateway-worker -p discord-sim -p altergolden \
    && mkdir /out \
    && for program in coordinator gateway-worker discord-sim altergolden; do \
        cp "/target/$PROFILE"/*/"$program" /out/ || exit 1; \
    done \
    && /out/altergolden completions bash > /out/altergolden.bash \
    && /out/altergolden man --dir /out/man1

# Debian, because the build links to its glibc and its shell helps to look into a container. Nothing is installed: the programs bring
# their own TLS roots (webpki-roots), and `altergolden health` is the probe, so there is no curl and no CA file.
FROM debian:${DEBIAN}-slim AS runtime
COPY --from=build /out/altergolden /usr/local/bin/
# Where the kernel gives huge pages to every process, each piece of a heap would take 2 MiB, used or not.
ENV MIMALLOC_ALLOW_THP=0
# A number, so that Kubernetes' runAsNonRoot can check it. This user owns no file, and the programs write none.
USER 65532:65532

FROM runtime AS coordinator
COPY --from=build /out/coordinator /usr/local/bin/
EXPOSE 50051 3001
ENTRYPOINT ["coordinator"]

FROM runtime AS gateway-worker
COPY --from=build /out/gateway-worker /usr/local/bin/
EXPOSE 3000 3080
ENTRYPOINT ["gateway-worker"]

FROM runtime AS discord-sim
COPY --from=build /out/discord-sim /usr/local/bin/
EXPOSE 3900
ENTRYPOINT ["discord-sim"]

FROM runtime AS altergolden
# For a shell in the container, and for images that are built on this one.
COPY --from=build /out/altergolden.bash /usr/share/bash-completion/completions/altergolden
COPY --from=build /out/man1 /usr/local/share/man/man1
ENTRYPOINT ["altergolden"]
