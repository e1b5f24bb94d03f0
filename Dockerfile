# syntax=docker/dockerfile:1

# The image of the operator: one static binary, run by a user that is nobody.
#
#   make docker-build IMG=registry.example.org/serinus:v0.1.0

# The compiler runs on the platform of the builder and compiles for that of the
# image, so that no emulation is needed.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src

# Modules change less often than sources: this layer is kept as long as they do.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download

COPY api/ api/
COPY cmd/ cmd/
COPY internal/ internal/

ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/manager ./cmd/manager

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Serinus" \
      org.opencontainers.image.description="Canary releases for KServe-style InferenceServices" \
      org.opencontainers.image.source="https://github.com/serinus-io/serinus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /LICENSE
COPY --from=build /out/manager /manager
# Numeric, so that the kubelet can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/manager"]
